//! MOV in all widths and directions, MOVZX, MOVSX, and the ways to form an address.

use atoll_guests::apic::{ICR_HIGH, SELECT};
use atoll_guests::check::{equal, section};
use atoll_guests::forms::{NARROW, WIDE, flags};
use atoll_guests::memory::{load, store};
use atoll_guests::run::register::{RAX, RBX, RCX};
use atoll_guests::run::{Code, Run};
use atoll_guests::{code, forms};

use crate::PLAIN;

pub(crate) fn moves() {
    section("mov");
    let loads = forms! {
        "mov al, [rdi]", "mov ah, [rdi]", "mov ax, [rdi]", "mov eax, [rdi]", "mov rax, [rdi]", "mov sil, [rdi]",
        "mov r9b, [rdi]", "mov r9w, [rdi]", "mov r9d, [rdi]", "mov r9, [rdi]", "mov bh, [rdi]", "mov dil, [rdi]",
    };
    forms::all(&loads, NARROW, flags::ALL, PLAIN);
    let stores = forms! {
        "mov [rdi], al", "mov [rdi], ah", "mov [rdi], ax", "mov [rdi], eax", "mov [rdi], rax", "mov [rdi], r9b",
        "mov [rdi], r9w", "mov [rdi], r9d", "mov [rdi], r9", "mov [rdi], sil", "mov byte ptr [rdi], 0x5a",
        "mov word ptr [rdi], 0x7a", "mov dword ptr [rdi], 0x5b", "mov qword ptr [rdi], 0x5c", "movnti [rdi], eax",
        "movnti [rdi], rax",
    };
    forms::all(&stores, NARROW, flags::ALL, PLAIN);
    let wide = forms! {
        "mov eax, [rdi]", "mov r9d, [rdi]", "mov [rdi], eax", "mov [rdi], r9d", "mov dword ptr [rdi], 0x89abcdef",
    };
    forms::all(&wide, WIDE, flags::ALL, PLAIN);
    // The address in the instruction.
    let absolute = |code: Code| Run::new(code).with(RAX, 0x1122_3344_5566_7788).go();
    store(ICR_HIGH, 0xfedc_ba98);
    equal(
        "movabs eax, [address]",
        absolute(code!("movabs eax, [0xfee00310]")).general[RAX],
        0xfedc_ba98,
    );
    equal(
        "movabs [address], eax",
        (
            absolute(code!("movabs [0xfee00310], eax")).vector,
            load(ICR_HIGH),
        ),
        (3, 0x5566_7788),
    );
    store(SELECT, 0x3c);
    equal(
        "movabs al, [address]",
        absolute(code!("movabs al, [0xfec00000]")).general[RAX],
        0x1122_3344_5566_773c,
    );
    equal(
        "movabs [address], al",
        (
            absolute(code!("movabs [0xfec00000], al")).vector,
            load(SELECT),
        ),
        (3, 0x88),
    );
}

pub(crate) fn extensions() {
    section("movzx and movsx");
    let narrow = forms! {
        "movzx ax, byte ptr [rdi]", "movzx eax, byte ptr [rdi]", "movzx rax, byte ptr [rdi]", "movzx r9d, byte ptr [rdi]",
        "movzx eax, word ptr [rdi]", "movzx rax, word ptr [rdi]", "movsx ax, byte ptr [rdi]", "movsx eax, byte ptr [rdi]",
        "movsx rax, byte ptr [rdi]", "movsx r9, byte ptr [rdi]", "movsx eax, word ptr [rdi]", "movsx rax, word ptr [rdi]",
        "movsxd rax, dword ptr [rdi]", "movsxd r9, dword ptr [rdi]",
    };
    forms::all(&narrow, NARROW, flags::ALL, PLAIN);
    forms::all(
        &forms! { "movsxd rax, dword ptr [rdi]" },
        WIDE,
        flags::ALL,
        PLAIN,
    );
}

pub(crate) fn addressing() {
    section("addressing");
    let run = |code: Code, base: u64, index: u64| {
        store(ICR_HIGH, 0x1357_9bdf);
        Run::new(code).with(RBX, base).with(RCX, index).go().general[RAX]
    };
    equal(
        "[rbx + 0x10]",
        run(code!("mov eax, [rbx + 0x10]"), ICR_HIGH - 0x10, 0),
        0x1357_9bdf,
    );
    equal(
        "[rbx - 0x1000]",
        run(code!("mov eax, [rbx - 0x1000]"), ICR_HIGH + 0x1000, 0),
        0x1357_9bdf,
    );
    equal(
        "[rbx + rcx * 8]",
        run(code!("mov eax, [rbx + rcx * 8]"), ICR_HIGH - 0x80, 0x10),
        0x1357_9bdf,
    );
    equal(
        "[rbx + rcx * 4 + 0x12345678]",
        run(
            code!("mov eax, [rbx + rcx * 4 + 0x12345678]"),
            ICR_HIGH - 0x1234_5678 - 16,
            4,
        ),
        0x1357_9bdf,
    );
    equal(
        "[rcx * 2 + 0x310]",
        run(
            code!("mov eax, [rcx * 2 + 0x310]"),
            0,
            (ICR_HIGH - 0x310) / 2,
        ),
        0x1357_9bdf,
    );
    equal(
        "[ebx]",
        run(code!("mov eax, [ebx]"), 0xdead_0000_0000_0000 | ICR_HIGH, 0),
        0x1357_9bdf,
    );
    equal(
        "[ebx + ecx], which wraps",
        run(code!("mov eax, [ebx + ecx]"), 0xffff_ff00, ICR_HIGH + 0x100),
        0x1357_9bdf,
    );
    let based = run(
        code!(
            "mov rdx, rbx",
            "shr rdx, 32",
            "mov eax, ebx",
            "mov ecx, 0xc0000101",
            "wrmsr",
            "mov eax, gs:[0x10]"
        ),
        ICR_HIGH - 0x10,
        0,
    );
    equal("gs:[0x10]", based, 0x1357_9bdf);
    let cs = run(code!(".byte 0x2e", "mov eax, [rbx]"), ICR_HIGH, 0);
    equal("cs:[rbx]", cs, 0x1357_9bdf);
}
