//! Single steps (APM vol. 2 §13.1.4): with TF set, #DB comes behind every instruction, whoever executed it; and where it is not, nothing shows that the
//! hypervisor may have stepped.
#![no_std]
#![no_main]

use atoll_guests::apic::{self, ICR_HIGH};
use atoll_guests::check::{deviation, equal, own, section};
use atoll_guests::memory::load64;
use atoll_guests::run::register::{RAX, RCX, RDI, RDX, RSI, RSP};
use atoll_guests::run::{Code, IF, Run};
use atoll_guests::{code, paging, traps};

atoll_guests::guest!(main);

const DEBUG: u8 = 1;
const TF: u64 = 1 << 8;
const VECTOR: u8 = 0x75;
/// RAM that nobody has touched yet.
const FRESH: u64 = 64 << 20;
const APART: u64 = 4 << 20;

fn main() {
    apic::start();
    traps::on(VECTOR, |_| apic::end());
    steps();
    hidden();
    atoll_guests::check::end();
}

/// The offsets at which #DB came.
fn stepped(code: Code, prepare: impl FnOnce(Run) -> Run) -> (u8, [u64; 4]) {
    traps::on(DEBUG, |frame| {
        if traps::count() >= 4 {
            frame.rflags &= !TF;
        }
    });
    traps::clear();
    let stop = prepare(Run::new(code)).flags(TF).go();
    traps::forget(DEBUG);
    let mut offsets = [0; 4];
    for (index, offset) in (0..traps::count() as usize).zip(&mut offsets) {
        *offset = traps::taken(index).1.wrapping_sub(code.0);
    }
    (stop.vector, offsets)
}

fn steps() {
    section("steps");
    equal(
        "nop",
        stepped(code!("nop", "nop", "nop", "nop"), |run| run),
        (3, [1, 2, 3, 4]),
    );
    equal(
        "cpuid",
        stepped(code!("nop", "cpuid", "nop", "nop"), |run| run),
        (3, [1, 3, 4, 5]),
    );
    equal(
        "rdmsr",
        stepped(code!("nop", "rdmsr", "nop", "nop"), |run| {
            run.with(RCX, 0xc000_0080)
        }),
        (3, [1, 3, 4, 5]),
    );
    equal(
        "in",
        stepped(code!("nop", "in al, dx", "nop", "nop"), |run| {
            run.with(RDX, 0x3ff)
        }),
        (3, [1, 2, 3, 4]),
    );
    equal(
        "out to nobody's port",
        stepped(code!("nop", "out dx, al", "nop", "nop"), |run| {
            run.with(RDX, 0x5100)
        }),
        (3, [1, 2, 3, 4]),
    );
    equal(
        "a load from a device",
        stepped(code!("nop", "mov eax, [rdi]", "nop", "nop"), |run| {
            run.with(RDI, ICR_HIGH)
        }),
        (3, [1, 3, 4, 5]),
    );
    equal(
        "a change of a device",
        stepped(code!("nop", "add [rdi], eax", "nop", "nop"), |run| {
            run.with(RDI, ICR_HIGH)
        }),
        (3, [1, 3, 4, 5]),
    );
    equal(
        "outsb",
        stepped(code!("nop", "outsb", "nop", "nop"), |run| {
            run.with(RDX, 0x3ff).with(RSI, FRESH)
        }),
        (3, [1, 2, 3, 4]),
    );
    // A processor stops behind each element (APM vol. 2 §13.1.4).
    deviation(
        "single steps over rep outsb stop behind each element",
        "QEMU steps over all elements at once",
        stepped(code!("nop", "rep outsb", "nop", "nop"), |run| {
            run.with(RDX, 0x3ff).with(RSI, FRESH).with(RCX, 2)
        }),
        (3, [1, 1, 3, 4]),
    );
    equal(
        "mov cr4",
        stepped(code!("mov cr4, rax", "nop", "nop", "nop"), |run| {
            run.with(RAX, 0x620)
        }),
        (3, [3, 4, 5, 6]),
    );
    equal(
        "a load from RAM not touched before",
        stepped(code!("nop", "mov eax, [rdi]", "nop", "nop"), |run| {
            run.with(RDI, FRESH + APART)
        }),
        (3, [1, 3, 4, 5]),
    );
    own(
        "vmmcall",
        || stepped(code!("nop", "vmmcall", "nop", "nop"), |run| run),
        (3, [1, 4, 5, 6]),
    );
}

fn hidden() {
    section("hidden steps");
    traps::clear();
    apic::raise(VECTOR);
    let stack = FRESH + 2 * APART + 0x1000;
    let code = code!("sti", "pushfq", "nop", "pop rax", "cli");
    let stop = Run::new(code).with(RSP, stack).go();
    equal(
        "pushf in a shadow shows no TF",
        (stop.vector, stop.general[RAX] & TF, load64(stack - 8) & TF),
        (3, 0, 0),
    );
    equal(
        "and the interrupt comes behind it",
        (traps::count(), traps::taken(0).1.wrapping_sub(code.0)),
        (1, 2),
    );
    traps::clear();
    apic::raise(VECTOR);
    let code = code!("sti", "int 0x76", "nop", "cli");
    traps::on(0x76, |frame| frame.general[RAX] = frame.rflags);
    let stop = Run::new(code).with(RSP, FRESH + 3 * APART + 0x1000).go();
    equal(
        "int n in a shadow shows no TF",
        (stop.vector, stop.general[RAX] & TF),
        (3, 0),
    );
    drain();
    traps::clear();
    apic::raise(VECTOR);
    paging::unmap(0);
    let nowhere = paging::at(0);
    let code = code!("sti", "movsb", "nop", "cli");
    let stop = Run::new(code)
        .with(RSI, FRESH + 4 * APART)
        .with(RDI, nowhere)
        .go();
    equal(
        "a fault in a shadow shows no TF",
        (
            stop.vector,
            stop.offset,
            stop.cr2 == nowhere,
            stop.rflags & TF,
        ),
        (14, 1, true, 0),
    );
    equal("and comes before the interrupt", traps::count(), 0);
    drain();
    equal("which comes later", traps::count(), 1);
}

/// Takes what is still pending.
fn drain() {
    let _ = Run::new(code!("nop", "nop")).flags(IF).go();
}
