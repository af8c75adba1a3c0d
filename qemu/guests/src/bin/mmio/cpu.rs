//! Instructions that the CPU carries out itself on a copy of the operand: whatever they do, it is what they do to RAM.

use core::arch::asm;

use atoll_guests::apic::{ICR_HIGH, SELECT};
use atoll_guests::check::{equal, section};
use atoll_guests::forms::{NARROW, WIDE, With, flags};
use atoll_guests::memory::{load, store};
use atoll_guests::run::Run;
use atoll_guests::run::register::{RAX, RDI};
use atoll_guests::{code, forms};

use crate::{CARRY, PLAIN};

/// CR0: there is no x87 unit; the task was switched.
const NO_UNIT: u64 = 1 << 2 | 1 << 3;
/// CR4: FXSAVE and SSE, and their exceptions.
const SSE: u64 = 1 << 9 | 1 << 10;

pub(crate) fn cpu() {
    enable();
    stack();
    shifts();
    products();
    conditions();
    scans();
    x87();
    vectors();
    nobodys();
}

fn enable() {
    // SAFETY: this guest has no state in the registers that are made available, and wants nothing else of CR0 and CR4.
    unsafe {
        asm!("mov {0}, cr0", "and {0}, {1}", "mov cr0, {0}", "mov {0}, cr4", "or {0}, {2}", "mov cr4, {0}", "fninit",
            out(reg) _, in(reg) !NO_UNIT, in(reg) SSE);
    }
}

fn stack() {
    section("push, pop, call, xlat");
    let narrow = forms! {
        "push qword ptr [rdi]; pop rax", "push word ptr [rdi]; pop ax", "push rax; pop qword ptr [rdi]",
        "push ax; pop word ptr [rdi]", "xor eax, eax; mov rbx, rdi; xlatb; xor ebx, ebx", "mov [rdi], ds", "mov word ptr [rdi], ss",
        "str word ptr [rdi]",
    };
    forms::all(&narrow, NARROW, flags::ALL, PLAIN);
}

fn shifts() {
    section("shifts and rotations");
    let narrow = forms! {
        "shl byte ptr [rdi], 1", "shr byte ptr [rdi], cl", "sar word ptr [rdi], 3", "rol byte ptr [rdi], cl",
        "ror byte ptr [rdi], 1", "rcl byte ptr [rdi], 1", "rcr byte ptr [rdi], cl",
    };
    forms::all(&narrow, NARROW, flags::CARRY, With { flags: 1, count: 3 });
    let wide = forms! {
        "shl dword ptr [rdi], 5", "shr dword ptr [rdi], 5", "shld dword ptr [rdi], eax, 7", "shrd dword ptr [rdi], eax, 7",
    };
    forms::all(&wide, WIDE, flags::CARRY, PLAIN);
}

fn products() {
    section("mul and div");
    let narrow = forms! {
        "mul byte ptr [rdi]", "mul dword ptr [rdi]", "imul qword ptr [rdi]", "imul eax, dword ptr [rdi]",
        "imul r9, qword ptr [rdi], 77", "div byte ptr [rdi]", "div dword ptr [rdi]", "idiv qword ptr [rdi]",
        "mulx r9, rbx, [rdi]",
    };
    forms::all(&narrow, NARROW, 0, PLAIN);
}

fn conditions() {
    section("setcc and cmovcc");
    for with in [PLAIN, CARRY] {
        let narrow = forms! {
            "setc byte ptr [rdi]", "setnc byte ptr [rdi]", "setle byte ptr [rdi]", "cmovc eax, [rdi]",
            "cmovnc rax, [rdi]", "cmovz ax, [rdi]",
        };
        forms::all(&narrow, NARROW, flags::ALL, with);
    }
}

fn scans() {
    section("bit scans, movbe, cmpxchg8b");
    let narrow = forms! {
        "mov rax, 9; bsf rax, qword ptr [rdi]", "mov rax, 9; bsr eax, dword ptr [rdi]", "popcnt eax, dword ptr [rdi]",
        "tzcnt eax, dword ptr [rdi]", "crc32 eax, byte ptr [rdi]", "movbe eax, [rdi]",
    };
    forms::all(&narrow, NARROW, 0, PLAIN);
    let wide = forms! { "movbe eax, [rdi]", "movbe [rdi], eax" };
    forms::all(&wide, WIDE, flags::ALL, PLAIN);
    let exchange = forms! {
        "xor eax, eax; mov ebx, 0x5c; xor ecx, ecx; lock cmpxchg8b [rdi]", "movzx eax, al; cmpxchg8b [rdi]",
    };
    forms::all(&exchange, NARROW, 0, PLAIN);
}

fn x87() {
    section("x87");
    let narrow = forms! {
        "fild dword ptr [rdi]; sub rsp, 8; fistp qword ptr [rsp]; pop rax",
        "movzx eax, al; push rax; fild qword ptr [rsp]; fistp dword ptr [rdi]; pop rax",
        "fnstcw word ptr [rdi]", "fninit; fnstsw word ptr [rdi]", "fld1; fiadd word ptr [rdi]; sub rsp, 8; fistp qword ptr [rsp]; pop rax",
    };
    forms::all(&narrow, NARROW, flags::ALL, PLAIN);
    let wide = forms! {
        "fild dword ptr [rdi]; fistp dword ptr [rdi]", "fld dword ptr [rdi]; fstp dword ptr [rdi]",
    };
    forms::all(&wide, WIDE, flags::ALL, PLAIN);
}

fn vectors() {
    section("mmx and sse");
    let narrow = forms! {
        "movd xmm0, [rdi]; movd eax, xmm0", "movq xmm0, [rdi]; movq rax, xmm0", "movdqu xmm1, [rdi]; movq rax, xmm1",
        "movups xmm9, [rdi]; movq rax, xmm9", "movaps xmm1, [rdi]; movq rax, xmm1", "movdqa xmm1, [rdi]; movq rax, xmm1",
        "movq mm0, [rdi]; movd eax, mm0; emms", "movzx eax, al; movd mm3, eax; movd [rdi], mm3; emms",
        "movzx eax, al; movd xmm0, eax; movd [rdi], xmm0", "movzx eax, al; movd xmm0, eax; movq [rdi], xmm0",
        "movzx eax, al; movd xmm0, eax; movdqu [rdi], xmm0", "movzx eax, al; movd xmm0, eax; movaps [rdi], xmm0",
        "movzx eax, al; movd xmm0, eax; movntdq [rdi], xmm0", "movzx eax, al; movd xmm0, eax; paddb xmm0, [rdi]; movq rax, xmm0",
        "pxor xmm0, xmm0; cvtsi2sd xmm0, dword ptr [rdi]; cvttsd2si rax, xmm0",
    };
    forms::all(&narrow, NARROW, flags::ALL, PLAIN);
    let wide = forms! { "movss xmm0, [rdi]; movd eax, xmm0", "movd xmm0, eax; movss [rdi], xmm0", "movd xmm0, eax; movd [rdi], xmm0" };
    forms::all(&wide, WIDE, flags::ALL, PLAIN);
    store(SELECT, 0x11);
    let stop = Run::new(code!("movaps [rdi], xmm0"))
        .with(RDI, SELECT + 8)
        .go();
    equal(
        "movaps at an address that is not aligned",
        stop.place(),
        (13, 0),
    );
    equal("and what it left", load(SELECT), 0x11);
}

fn nobodys() {
    section("what the cpu does where nobody is");
    let at = |code| Run::new(code).with(RAX, 0x1234).with(RDI, 0xb_8000).go();
    for (name, code) in [
        ("movdqu", code!("movdqu [rdi], xmm0")),
        ("push", code!("push qword ptr [rdi]; pop rax")),
        ("shl", code!("shl dword ptr [rdi], 1")),
        ("fxsave", code!("fxsave [rdi]")),
        ("fild", code!("fild dword ptr [rdi]; fstp st(0)")),
    ] {
        let stop = at(code);
        equal(name, stop.vector, 3);
    }
    store(ICR_HIGH, 0);
}
