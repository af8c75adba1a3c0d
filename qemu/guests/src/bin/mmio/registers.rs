//! Registers of which every bit that both machines keep comes back, and addresses that are nobody's.

use atoll_guests::apic::{self, ICR_HIGH, INITIAL_COUNT, LDR, SELECT, WINDOW};
use atoll_guests::check::{equal, own, section};
use atoll_guests::code;
use atoll_guests::memory::{load, store};
use atoll_guests::run::register::{RAX, RDI};
use atoll_guests::run::{Code, Run};

/// An address that is nobody's.
const NOBODYS: u64 = 0xfd00_0000;

pub(crate) fn registers() {
    section("registers");
    for (name, at, keeps) in [
        ("ICR high", ICR_HIGH, u32::MAX),
        ("LDR", LDR, 0xff00_0000),
        ("TPR", apic::TPR, 0xff),
    ] {
        for value in [
            0x0000_0000,
            0xa500_0000,
            0x5a00_0000,
            0xff00_00ff,
            0x0000_0031,
        ] {
            store(at, value & keeps);
            equal(
                format_args!("{name} keeps {value:x}"),
                load(at),
                value & keeps,
            );
        }
        store(at, 0);
    }
    store(apic::LVT_TIMER, apic::MASKED | 0x55);
    equal("LVT timer", load(apic::LVT_TIMER), apic::MASKED | 0x55);
    store(INITIAL_COUNT, 0xfedc_ba98);
    equal("initial count", load(INITIAL_COUNT), 0xfedc_ba98);
    store(INITIAL_COUNT, 0);
    for pin in [3, 9, 20, 23] {
        store(SELECT, 0x10 + 2 * pin);
        store(WINDOW, apic::MASKED | (0x40 + pin));
        equal(
            format_args!("the I/O APIC's pin {pin}"),
            load(WINDOW),
            apic::MASKED | (0x40 + pin),
        );
        store(SELECT, 0x11 + 2 * pin);
        store(WINDOW, 0x0f00_0000);
        equal(
            format_args!("where the I/O APIC's pin {pin} goes"),
            load(WINDOW),
            0x0f00_0000,
        );
    }
    store(SELECT, 0x10 + 46);
    equal(
        "the last pin is the last",
        load(WINDOW),
        apic::MASKED | 0x57,
    );
    own(
        "a store of eight bytes is one of four",
        || {
            (
                Run::new(code!("mov [rdi], rax"))
                    .with(RDI, ICR_HIGH)
                    .with(RAX, u64::MAX << 32 | 0x77)
                    .go()
                    .vector,
                load(ICR_HIGH),
            )
        },
        (3, 0x77),
    );
    own(
        "a load of eight bytes has an empty half",
        || {
            Run::new(code!("mov rax, [rdi]"))
                .with(RDI, ICR_HIGH)
                .with(RAX, u64::MAX)
                .go()
                .general[RAX]
        },
        0x77,
    );
    own(
        "a store of two bytes is none",
        || {
            (
                Run::new(code!("mov [rdi], ax"))
                    .with(RDI, ICR_HIGH)
                    .with(RAX, 0x99)
                    .go()
                    .vector,
                load(ICR_HIGH),
            )
        },
        (3, 0x77),
    );
}

pub(crate) fn nobodys() {
    section("nobody's memory");
    let run = |code: Code| {
        Run::new(code)
            .with(RDI, NOBODYS)
            .with(RAX, 0x1122_3344_5566_7788)
            .go()
            .general[RAX]
    };
    // QEMU reads zeros.
    own(
        "mov al, [rdi]",
        || run(code!("mov al, [rdi]")),
        0x1122_3344_5566_77ff,
    );
    own(
        "mov ax, [rdi]",
        || run(code!("mov ax, [rdi]")),
        0x1122_3344_5566_ffff,
    );
    own(
        "mov eax, [rdi]",
        || run(code!("mov eax, [rdi]")),
        0xffff_ffff,
    );
    own("mov rax, [rdi]", || run(code!("mov rax, [rdi]")), u64::MAX);
    own(
        "movzx eax, byte ptr [rdi]",
        || run(code!("movzx eax, byte ptr [rdi]")),
        0xff,
    );
    own(
        "movsx rax, word ptr [rdi]",
        || run(code!("movsx rax, word ptr [rdi]")),
        u64::MAX,
    );
    own(
        "xchg [rdi], eax",
        || run(code!("xchg [rdi], eax")),
        0xffff_ffff,
    );
    equal(
        "stores are ignored",
        run(code!(
            "mov [rdi], rax",
            "mov [rdi], al",
            "stosd",
            "inc dword ptr [rdi]"
        )),
        0x1122_3344_5566_7788,
    );
}
