//! Interrupts and exceptions whose delivery meets a fault of its own: of the hypervisor's, which the guest must not see, and of the
//! guest's, which it must.
#![no_std]
#![no_main]

use atoll_guests::alone::Alone;
use atoll_guests::apic::{self, ICR, NMI};
use atoll_guests::check::{equal, left, section};
use atoll_guests::code;
use atoll_guests::memory::{load64, store};
use atoll_guests::paging::{self, PAGE, PRESENT, Page, WRITABLE};
use atoll_guests::run::register::{RAX, RDI, RDX, RSP};
use atoll_guests::run::{Code, IF, Run, Stop};
use atoll_guests::traps::{self, Frame, Gates};

atoll_guests::guest!(main);

/// In the first half of the IDT, and in the second.
const LOW: u8 = 0x41;
const HIGH: u8 = 0x91;
/// RAM that nobody has touched yet, from here on.
const FRESH: u64 = 64 << 20;
/// Each stack is in a page of its own, whatever the size of pages.
const APART: u64 = 4 << 20;

/// What QEMU does with the error code of a gate.
const TIMES_16: &str = "it is the gate's number times 16, without EXT";
const DOUBLE: u8 = 8;
const NOT_PRESENT: u8 = 11;
const PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

static PAGES: Alone<[Page; 2]> = Alone::new([Page::ZERO; 2]);
/// What the handlers saw: error code and RIP.
static SEEN: Alone<(u64, u64)> = Alone::new((0, 0));

fn main() {
    apic::start();
    store(apic::ICR_HIGH, 0);
    for vector in [LOW, HIGH] {
        traps::on(vector, |_| apic::end());
    }
    fresh_stacks();
    missing_stacks();
    missing_gates();
    absent_gates();
    double_faults();
    atoll_guests::check::end();
}

/// Stacks in memory that the hypervisor has not backed yet.
struct Fresh(u64);

impl Fresh {
    fn stack(&mut self) -> u64 {
        self.0 += APART;
        // The frame lies in two pages.
        self.0 + 2 * PAGE + 16
    }
}

/// Remembers what came, and skips the instruction of RDX bytes that it came from.
fn skip(frame: &mut Frame) {
    // SAFETY: handlers do not interrupt each other here.
    unsafe { SEEN.get().write_volatile((frame.error, frame.rip)) };
    frame.rip += frame.general[RDX];
}

fn seen(code: Code) -> (u64, u64) {
    // SAFETY: as above.
    let (error, rip) = unsafe { SEEN.get().read_volatile() };
    (error, rip.wrapping_sub(code.0))
}

fn fresh_stacks() {
    section("stacks not backed yet");
    let mut fresh = Fresh(FRESH);
    let code = code!("nop", "nop");
    for vector in [LOW, HIGH] {
        traps::clear();
        apic::raise(vector);
        let stack = fresh.stack();
        let stop = Run::new(code).with(RSP, stack).flags(IF).go();
        equal(
            format_args!("interrupt {vector:x} comes once"),
            (stop.vector, traps::count(), traps::taken(0)),
            (3, 1, (vector, code.0)),
        );
        equal(
            format_args!("interrupt {vector:x} leaves the stack pointer"),
            stop.general[RSP],
            stack,
        );
        equal(
            format_args!("interrupt {vector:x} has ended"),
            (apic::in_service(vector), apic::requested(vector)),
            (false, false),
        );
    }
    traps::on(2, traps::counted);
    traps::clear();
    let code = code!("mov [rdi], eax", "nop");
    let stop = Run::new(code)
        .with(RSP, fresh.stack())
        .with(RDI, ICR)
        .with(RAX, NMI.into())
        .go();
    equal(
        "an NMI comes once",
        (stop.vector, traps::count(), traps::taken(0)),
        (3, 1, (2, code.0 + 2)),
    );
    traps::forget(2);

    // Exceptions on the run's stack: the vector, the code, its length, the error code and where it is said to come from.
    for (name, vector, code, length, error, at) in [
        ("int3", 3, code!(".byte 0xcc", "nop", "ud2"), 0, 0, 1),
        ("int n", 0x55, code!("int 0x55", "nop", "ud2"), 0, 0, 2),
        (
            "int n of 3",
            3,
            code!(".byte 0xcd, 3", "nop", "ud2"),
            0,
            0,
            2,
        ),
        ("#DE", 0, code!("xor eax, eax", "div eax", "ud2"), 2, 0, 2),
        ("#GP", 13, code!("mov ds, edi", "nop", "ud2"), 2, 0x7ff8, 0),
        (
            "#PF of a load",
            14,
            code!("mov eax, [rsi]", "nop", "ud2"),
            2,
            0,
            0,
        ),
        (
            "#PF of a store",
            14,
            code!("mov [rsi], eax", "nop", "ud2"),
            2,
            2,
            0,
        ),
    ] {
        traps::on(vector, skip);
        traps::clear();
        let run = Run::new(code)
            .with(RSP, fresh.stack())
            .with(RDX, length)
            .with(RDI, 0x7ff8)
            .with(6, paging::at(300));
        paging::unmap(300);
        let stop = run.go();
        equal(
            format_args!("{name} comes once"),
            (stop.vector, traps::count(), traps::taken(0).0),
            (6, 1, vector),
        );
        equal(
            format_args!("{name} has its error code and place"),
            seen(code),
            (error, at),
        );
        traps::forget(vector);
    }
    traps::on(6, skip);
    traps::clear();
    let code = code!("nop", "ud2", "nop");
    let stop = Run::new(code).with(RSP, fresh.stack()).with(RDX, 2).go();
    equal(
        "#UD comes once",
        (stop.vector, traps::count(), seen(code)),
        (3, 1, (0, 1)),
    );
    traps::forget(6);
}

/// Where a run ended and why.
fn fault(stop: &Stop) -> (u8, u64, u64, u64) {
    (stop.vector, stop.error, stop.cr2, stop.offset)
}

/// The stack's page is not there by the guest's own tables.
fn missing_stacks() {
    section("stacks that are not there");
    paging::map(0, PAGES.get().addr() as u64, PRESENT | WRITABLE);
    paging::unmap(1);
    let stack = paging::at(1) + 0x100;
    let push = stack - 8;
    traps::on(0x55, traps::counted);
    traps::clear();
    let code = code!("nop", "int 0x55", "nop");
    let stop = Run::new(code).with(RSP, stack).go();
    equal(
        "int n",
        (fault(&stop), traps::count()),
        ((PAGE_FAULT, 2, push, 1), 0),
    );
    apic::raise(LOW);
    let code = code!("nop", "nop");
    let stop = Run::new(code).with(RSP, stack).flags(IF).go();
    equal(
        "an interrupt",
        (fault(&stop), traps::count()),
        ((PAGE_FAULT, 2, push, 0), 0),
    );
    // It was acknowledged, and its handler did not run.
    equal(
        "is in service",
        (apic::in_service(LOW), apic::requested(LOW)),
        (true, false),
    );
    apic::end();
    traps::on(6, skip);
    let stop = Run::new(code!("ud2")).with(RSP, stack).go();
    equal("#UD", fault(&stop), (PAGE_FAULT, 2, push, 0));
    traps::forget(6);
    // A stack pointer that is no address.
    let stop = Run::new(code!("int 0x55")).with(RSP, 1 << 60).go();
    left(
        "int n with a stack pointer that is no address",
        "it is #GP",
        (stop.vector, stop.error, stop.offset),
        (12, 0, 0),
    );
    paging::map(1, PAGES.get().addr() as u64 + PAGE, PRESENT);
    let code = code!("mov rax, cr0", "bts eax, 16", "mov cr0, rax", "int 0x55");
    let stop = Run::new(code).with(RSP, stack).go();
    equal(
        "a stack that is read-only",
        (fault(&stop), load64(push)),
        ((PAGE_FAULT, 3, push, 10), 0),
    );
    let _ = Run::new(code!("mov rax, cr0", "btr eax, 16", "mov cr0, rax")).go();
    traps::forget(0x55);
}

/// The second half of the IDT is in a page that is not there.
fn missing_gates() {
    section("gates that are not there");
    let frames = PAGES.get().addr() as u64;
    paging::map(0, frames, PRESENT | WRITABLE);
    paging::map(1, frames + PAGE, PRESENT | WRITABLE);
    let table = paging::at(0) + PAGE / 2;
    traps::load(table as *mut Gates);
    traps::clear();
    let code = code!("nop", "int 0x91", "nop");
    let stop = Run::new(code).go();
    equal(
        "with all gates there",
        (stop.vector, traps::count()),
        (3, 1),
    );
    apic::end();
    paging::unmap(1);
    traps::clear();
    let gate = table + u64::from(HIGH) * 16;
    let found = |stop: &Stop| (stop.vector, stop.error, stop.cr2 & !0xf, stop.offset);
    let stop = Run::new(code).go();
    equal(
        "int n",
        (found(&stop), traps::count()),
        ((PAGE_FAULT, 0, gate, 1), 0),
    );
    apic::raise(HIGH);
    let code = code!("nop", "nop");
    let stop = Run::new(code).flags(IF).go();
    equal(
        "an interrupt",
        (found(&stop), traps::count()),
        ((PAGE_FAULT, 0, gate, 0), 0),
    );
    apic::end();
    apic::raise(LOW);
    let stop = Run::new(code).flags(IF).go();
    equal(
        "one whose gate is there",
        (stop.vector, traps::count()),
        (3, 1),
    );
    paging::map(1, frames + PAGE, PRESENT | WRITABLE);
    traps::clear();
    apic::raise(HIGH);
    let stop = Run::new(code).flags(IF).go();
    equal(
        "when the page is there again",
        (stop.vector, traps::count()),
        (3, 1),
    );
    traps::load_own();
}

/// Gates that are marked not present. The error code is the gate's number times 8, with IDT and EXT.
fn absent_gates() {
    section("absent gates");
    let code = code!("nop", "int 0x91", "nop");
    traps::set_present(HIGH, false);
    traps::clear();
    let stop = Run::new(code).go();
    equal(
        "int n",
        (stop.vector, stop.offset, traps::count()),
        (NOT_PRESENT, 1, 0),
    );
    left(
        "error code of an absent gate, by int n",
        TIMES_16,
        stop.error,
        0x91 << 3 | 2,
    );
    apic::raise(HIGH);
    let code = code!("nop", "nop");
    let stop = Run::new(code).flags(IF).go();
    equal(
        "an interrupt",
        (stop.vector, stop.offset, traps::count()),
        (NOT_PRESENT, 0, 0),
    );
    left(
        "error code of an absent gate, by an interrupt",
        TIMES_16,
        stop.error,
        0x91 << 3 | 3,
    );
    apic::end();
    traps::set_present(HIGH, true);
    let stop = Run::new(code!("int 0x91")).go();
    equal("present again", (stop.vector, traps::count()), (3, 1));
    apic::end();
    // #NP of an INT with its frame on a stack not backed yet.
    traps::on(NOT_PRESENT, skip);
    traps::set_present(0x56, false);
    traps::clear();
    let code = code!("nop", "int 0x56", "nop");
    let stop = Run::new(code).with(RSP, 240 << 20).with(RDX, 2).go();
    equal(
        "#NP on a stack not backed yet comes once",
        (stop.vector, traps::count(), seen(code).1),
        (3, 1, 1),
    );
    left(
        "error code of an absent gate, on a stack not backed yet",
        TIMES_16,
        seen(code).0,
        0x56 << 3 | 2,
    );
    traps::set_present(0x56, true);
    traps::forget(NOT_PRESENT);
}

/// A second fault in the delivery of a first.
fn double_faults() {
    section("double faults");
    paging::unmap(300);
    let load = code!("nop", "mov eax, [rdi]");
    let at = |stop: &Stop| (stop.vector, stop.error, stop.offset);
    traps::set_present(PAGE_FAULT, false);
    let stop = Run::new(load).with(RDI, paging::at(300)).go();
    equal("#NP in the delivery of #PF", at(&stop), (DOUBLE, 0, 1));
    traps::set_present(PAGE_FAULT, true);
    traps::set_present(PROTECTION, false);
    let stop = Run::new(code!("nop", "mov ds, edi")).with(RDI, 0x7ff8).go();
    equal("#NP in the delivery of #GP", at(&stop), (DOUBLE, 0, 1));
    traps::set_present(PROTECTION, true);
    traps::set_present(6, false);
    let stop = Run::new(code!("nop", "ud2")).go();
    equal(
        "#NP in the delivery of #UD is just that",
        (stop.vector, stop.offset),
        (NOT_PRESENT, 1),
    );
    traps::set_present(6, true);
    // #PF with its frame on a stack that is not there.
    paging::unmap(1);
    traps::on(PAGE_FAULT, traps::counted);
    traps::clear();
    let stop = Run::new(load)
        .with(RDI, paging::at(300))
        .with(RSP, paging::at(1) + 0x100)
        .go();
    equal(
        "#PF in the delivery of #PF",
        (at(&stop), traps::count()),
        ((DOUBLE, 0, 1), 0),
    );
    traps::forget(PAGE_FAULT);
    let stop = Run::new(load).with(RDI, paging::at(300)).go();
    equal("afterwards all is as before", at(&stop), (PAGE_FAULT, 0, 1));
}
