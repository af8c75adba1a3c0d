//! NMIs: blocked from delivery to IRET, at most one latched, and not to be held by IF.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_guests::apic::{self, ICR, MASKED, NMI, SELECT, TO_SELF, WINDOW};
use atoll_guests::check::{equal, section};
use atoll_guests::memory::{load, store};
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX};
use atoll_guests::run::{Code, IF, Run, Stop};
use atoll_guests::{code, traps};

atoll_guests::guest!(main);

const NMI_VECTOR: u8 = 2;
const VECTOR: u8 = 0x72;

/// How deep handlers are nested, and how deep they were at the most.
static DEPTH: AtomicU64 = AtomicU64::new(0);
static DEEPEST: AtomicU64 = AtomicU64::new(0);

fn main() {
    apic::start();
    store(apic::ICR_HIGH, 0);
    traps::on(VECTOR, |_| apic::end());
    delivery();
    blocking();
    with_interrupts();
    hlt();
    faults_inside();
    atoll_guests::check::end();
}

/// Runs `code` with a command in RAX for the register at RDI; an NMI unless it says otherwise.
fn run(code: Code) -> Stop {
    run_with(Run::new(code))
}

fn run_with(run: Run) -> Stop {
    traps::clear();
    DEEPEST.store(0, Ordering::Relaxed);
    run.with(RDI, ICR).with(RAX, NMI.into()).go()
}

/// Counts nesting around `inside`.
fn nested(inside: impl FnOnce()) {
    let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
    DEEPEST.fetch_max(depth, Ordering::Relaxed);
    inside();
    DEPTH.fetch_sub(1, Ordering::Relaxed);
}

/// The handler of one NMI that does nothing.
fn quiet(_: &mut traps::Frame) {
    nested(|| {});
}

/// Raises two more in the handler of the first.
fn raise_two(_: &mut traps::Frame) {
    nested(|| {
        if traps::count() == 1 {
            store(ICR, NMI);
            store(ICR, NMI);
        }
    });
}

/// Raises another one and an interrupt, and tries to be interrupted, in the handler of the first.
fn raise_both(_: &mut traps::Frame) {
    nested(|| {
        if traps::count() == 1 {
            store(ICR, TO_SELF | u32::from(VECTOR));
            store(ICR, NMI);
            x86_64::instructions::nop();
        }
    });
}

fn delivery() {
    section("delivery");
    traps::on(NMI_VECTOR, quiet);
    for (name, flags) in [("with IF clear", 0), ("with IF set", IF)] {
        let code = code!("mov [rdi], eax", "nop", "nop", "cli");
        let stop = run_with(Run::new(code).flags(flags));
        equal(
            format_args!("{name}, behind the store that raises it"),
            (stop.vector, traps::count(), traps::taken(0)),
            (3, 1, (2, code.0 + 2)),
        );
    }
    let code = code!("sti", "mov [rdi], eax", "nop", "cli");
    let stop = run(code);
    equal(
        "raised in the shadow of sti",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (2, code.0 + 3)),
    );
    let code = code!("mov [rdi], eax", "mov [rdi], eax", "nop");
    let stop = run(code);
    equal(
        "two in a row",
        (
            stop.vector,
            traps::count(),
            traps::taken(0),
            traps::taken(1),
        ),
        (3, 2, (2, code.0 + 2), (2, code.0 + 4)),
    );
    let stop = run(code!("mov rbx, rax", "mov [rdi], eax", "cpuid", "nop"));
    equal(
        "before an instruction that exits",
        (stop.vector, traps::count(), stop.general[RBX] != NMI.into()),
        (3, 1, true),
    );
}

fn blocking() {
    section("blocked until iret");
    traps::on(NMI_VECTOR, raise_two);
    let code = code!("mov [rdi], eax", "nop", "nop");
    let stop = run(code);
    equal(
        "one is latched, the other lost",
        (stop.vector, traps::count()),
        (3, 2),
    );
    equal(
        "the second does not come inside the first",
        DEEPEST.load(Ordering::Relaxed),
        1,
    );
    equal(
        "both come at the same place",
        (traps::taken(0), traps::taken(1)),
        ((2, code.0 + 2), (2, code.0 + 2)),
    );
    let stop = run(code);
    equal(
        "the next time again",
        (stop.vector, traps::count(), DEEPEST.load(Ordering::Relaxed)),
        (3, 2, 1),
    );
    traps::on(NMI_VECTOR, quiet);
    let stop = run(code);
    equal("none is left", (stop.vector, traps::count()), (3, 1));
}

fn with_interrupts() {
    section("before interrupts");
    traps::on(NMI_VECTOR, quiet);
    let order = || (traps::count(), traps::taken(0).0, traps::taken(1).0);
    apic::raise(VECTOR);
    let code = code!("sti", "mov [rdi], eax", "nop", "cli");
    let stop = run(code);
    equal(
        "both pending: the nmi first",
        (stop.vector, order()),
        (3, (2, NMI_VECTOR, VECTOR)),
    );
    equal(
        "both at the same place",
        (traps::taken(0).1, traps::taken(1).1),
        (code.0 + 3, code.0 + 3),
    );
    traps::on(NMI_VECTOR, raise_both);
    let code = code!("sti", "nop", "mov [rdi], eax", "nop", "cli");
    let stop = run(code);
    equal(
        "nmi, latched nmi, interrupt",
        (stop.vector, traps::count(), traps::taken(2).0),
        (3, 3, VECTOR),
    );
    equal(
        "one after the other",
        (
            DEEPEST.load(Ordering::Relaxed),
            traps::taken(0).1,
            traps::taken(1).1,
            traps::taken(2).1,
        ),
        (1, code.0 + 4, code.0 + 4, code.0 + 4),
    );
    traps::on(NMI_VECTOR, quiet);
    // Its handler's IRET gives back an IF that is set: what was held comes there.
    traps::on(NMI_VECTOR, |_| nested(|| apic::raise(VECTOR)));
    let code = code!("mov [rdi], eax", "nop", "cli");
    let stop = run_with(Run::new(code).flags(IF));
    equal(
        "an interrupt raised in the handler waits for its iret",
        (
            stop.vector,
            order(),
            DEEPEST.load(Ordering::Relaxed),
            traps::taken(1).1,
        ),
        (3, (2, NMI_VECTOR, VECTOR), 1, code.0 + 2),
    );
    traps::on(NMI_VECTOR, quiet);
}

/// The timer's pin of the I/O APIC raises an NMI.
fn hlt() {
    section("hlt");
    store(SELECT, 0x15);
    store(WINDOW, 0);
    store(SELECT, 0x14);
    store(WINDOW, 0x400 | u32::from(VECTOR));
    let wait = |code: Code| {
        traps::clear();
        apic::out(0x43, 0x30);
        apic::out(0x40, 0xe8);
        apic::out(0x40, 0x03);
        Run::new(code).with(RCX, 0).with(RDX, 0).go()
    };
    let code = code!("hlt", "nop");
    let stop = wait(code);
    equal(
        "it ends hlt with IF clear",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (2, code.0 + 1)),
    );
    let code = code!("sti", "hlt", "cli");
    let stop = wait(code);
    equal(
        "and with IF set",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (2, code.0 + 2)),
    );
    store(WINDOW, MASKED);
    equal("the pin is masked", load(WINDOW), MASKED);
}

/// A fault in the handler has an IRET of its own, which ends the blocking early (APM vol. 2 §8.2.3).
fn faults_inside() {
    section("faults inside");
    traps::on(3, |_| {});
    traps::on(NMI_VECTOR, |_| {
        nested(|| {
            if traps::count() == 1 {
                x86_64::instructions::interrupts::int3();
                store(ICR, NMI);
                x86_64::instructions::nop();
            }
        });
    });
    let code = code!("mov [rdi], eax", "nop", "ud2");
    let stop = run(code);
    equal(
        "the iret of an exception unblocks",
        (stop.vector, traps::count(), DEEPEST.load(Ordering::Relaxed)),
        (6, 3, 2),
    );
    equal(
        "in order",
        (traps::taken(0).0, traps::taken(1).0, traps::taken(2).0),
        (2, 3, 2),
    );
    traps::forget(3);
    traps::on(NMI_VECTOR, quiet);
    let stop = run(code!("mov [rdi], eax", "nop"));
    equal(
        "afterwards all is as before",
        (stop.vector, traps::count()),
        (3, 1),
    );
}
