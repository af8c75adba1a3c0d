//! The task priority by CR8 and by the APIC's register, which are one: it holds interrupts of its class and below, and lets them go at the very instruction that lowers it (APM vol. 2
//! §16.6.4, §8.1.3).
#![no_std]
#![no_main]

use atoll_guests::apic::{self, TPR};
use atoll_guests::check::{equal, section};
use atoll_guests::memory::{load, store};
use atoll_guests::run::register::{RAX, RBX, RDI};
use atoll_guests::run::{IF, Run};
use atoll_guests::{code, traps};

atoll_guests::guest!(main);
const VECTOR: u8 = 0x71;

fn main() {
    apic::start();
    traps::on(VECTOR, |_| apic::end());
    section("values");
    let write = |value| {
        Run::new(code!("mov cr8, rax", "mov rbx, cr8"))
            .with(RAX, value)
            .go()
    };
    for value in [0, 1, 7, 15] {
        let stop = write(value);
        equal(
            format_args!("cr8 {value} is kept"),
            (stop.vector, stop.general[RBX]),
            (3, value),
        );
        equal(
            format_args!("cr8 {value} shows in TPR"),
            load(TPR),
            (value as u32) << 4,
        );
        let stop = Run::new(code!("cpuid", "mov rbx, cr8")).go();
        equal(
            format_args!("cr8 {value} survives an exit"),
            stop.general[RBX],
            value,
        );
    }
    let _ = write(0);
    for value in [0x57, 0x0f, 0x80, 0] {
        store(TPR, value);
        let stop = Run::new(code!("mov rbx, cr8")).go();
        equal(
            format_args!("tpr {value:x} shows in cr8"),
            stop.general[RBX],
            u64::from(value >> 4),
        );
    }
    section("holding");
    traps::clear();
    let _ = write(7);
    apic::raise(VECTOR);
    let _ = Run::new(code!("nop", "nop")).flags(IF).go();
    equal("cr8 holds", traps::count(), 0);
    let code = code!("sti", "nop", "mov cr8, rax", "nop", "nop", "cli");
    let stop = Run::new(code).with(RAX, 6).go();
    equal(
        "lowering lets go, behind it",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 6),
    );
    traps::clear();
    let _ = write(7);
    apic::raise(VECTOR);
    let _ = Run::new(code!("nop")).flags(IF).go();
    let code = code!("sti", "nop", "nop", "nop", "mov cr8, rax", "cli");
    let stop = Run::new(code).with(RAX, 0).go();
    equal(
        "with cli behind it",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 8),
    );
    traps::clear();
    let _ = write(7);
    apic::raise(VECTOR);
    let code = code!("mov cr8, rax", "sti", "hlt", "cli");
    let stop = Run::new(code).with(RAX, 0).go();
    equal(
        "lowering before hlt",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 6),
    );
    traps::clear();
    apic::one_shot(VECTOR, 30_000);
    let code = code!(
        "mov cr8, rax",
        "sti",
        "2:",
        "pause",
        "mov rbx, rbx",
        "dec ecx",
        "jnz 2b",
        "cli"
    );
    let stop = Run::new(code).with(RAX, 8).with(1, 100_000).go();
    equal(
        "the timer is held by cr8",
        (stop.vector, traps::count()),
        (3, 0),
    );
    let _ = write(0);
    let _ = Run::new(code!("nop", "nop")).flags(IF).go();
    equal("and comes later", traps::count(), 1);
    traps::clear();
    store(TPR, 0x70);
    apic::raise(VECTOR);
    let code = code!("sti", "nop", "mov cr8, rax", "nop", "cli");
    let stop = Run::new(code).with(RAX, 6).go();
    equal(
        "what the register holds, cr8 lets go",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 6),
    );
    traps::clear();
    let _ = write(7);
    apic::raise(VECTOR);
    let code = code!("sti", "nop", "mov [rdi], eax", "nop", "cli");
    let stop = Run::new(code).with(RDI, TPR).with(RAX, 0x60).go();
    equal(
        "what cr8 holds, the register lets go",
        (
            stop.vector,
            traps::count(),
            traps::taken(0).1.wrapping_sub(code.0),
        ),
        (3, 1, 4),
    );
    store(TPR, 0);
    atoll_guests::check::end();
}
