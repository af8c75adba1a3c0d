//! x87 exceptions the old way, with CR0.NE clear: line 13 of the interrupt controllers, as on a PC (APM vol. 2 §3.1.1, vol. 1 §6.8.2).
#![no_std]
#![no_main]

use atoll_guests::apic::{self, inb, out};
use atoll_guests::check::{equal, section, unasked};
use atoll_guests::run::register::RAX;
use atoll_guests::run::{Code, IF, Run};
use atoll_guests::system::Register;
use atoll_guests::{code, parameters, println, traps};

atoll_guests::guest!(main);

const NE: u64 = 1 << 5;
const TS_EM: u64 = 0xc;
/// The vector of line 13.
const LINE_13: u8 = 0x2d;
/// #MF.
const FLOATING_POINT: u8 = 16;
/// Divides by zero with that exception unmasked, and waits for it.
const ABORTS: &str =
    "an x87 exception with NE clear takes a lock that QEMU does not hold, and aborts it";

fn main() {
    apic::start();
    let cr0 = Register::Cr0.get();
    let _ = Register::Cr0.set(cr0 & !TS_EM | NE);
    native();
    control();
    line();
    many();
    let _ = Register::Cr0.set(cr0);
    atoll_guests::check::end();
}

fn divides() -> Code {
    code!(
        "fninit",
        "push 0",
        "fldcw [rsp]",
        "pop rax",
        "fld1",
        "fldz",
        "fdivp",
        "fwait",
        "fnstsw ax",
        "nop"
    )
}

fn native() {
    section("ne set");
    let stop = Run::new(divides()).go();
    equal(
        "#MF at the next waiting instruction",
        (stop.vector, stop.offset),
        (FLOATING_POINT, 14),
    );
    let stop = Run::new(code!("fnstsw ax", "fnclex")).go();
    equal(
        "the status says zero divide",
        (stop.vector, stop.general[RAX] & 0x84),
        (3, 0x84),
    );
    let stop = Run::new(code!("fninit", "fld1", "fldz", "fdivp", "fwait")).go();
    equal("a masked one does nothing", stop.vector, 3);
}

/// The guest sees the NE that it wrote.
fn control() {
    section("ne in cr0");
    let cr0 = Register::Cr0.get();
    let _ = Register::Cr0.set(cr0 & !NE);
    equal("clear", Register::Cr0.get(), cr0 & !NE);
    let smsw = Run::new(code!("smsw eax")).go();
    equal("clear by SMSW", smsw.general[RAX] & NE, 0);
    let store = Run::new(code!("push 0", "smsw [rsp]", "pop rax")).go();
    equal("clear by SMSW to memory", store.general[RAX] & NE, 0);
    let clts = Run::new(code!(
        "mov rax, cr0",
        "or eax, 8",
        "mov cr0, rax",
        "clts",
        "mov rax, cr0"
    ))
    .go();
    equal("clear behind CLTS", clts.general[RAX] & (NE | 8), 0);
    let lmsw = Run::new(code!("smsw eax", "or eax, 0x22", "lmsw ax", "mov rax, cr0")).go();
    equal("LMSW does not reach it", lmsw.general[RAX] & (NE | 2), 2);
    let _ = Register::Cr0.set(cr0);
    equal("set", Register::Cr0.get(), cr0);
}

/// Clears NE, and all that may be left of an exception.
fn ready() {
    let _ = Run::new(code!("fninit")).go();
    let _ = Register::Cr0.set(Register::Cr0.get() & !NE);
}

fn line() {
    section("line 13");
    traps::on(LINE_13, |_| {
        out(0xf0, 0);
        let _ = inb(0xf0);
        out(0xa0, 0x20);
        out(0x20, 0x20);
        // SAFETY: it only clears the exception.
        unsafe { core::arch::asm!("fnclex") };
    });
    out(0x21, !(1 << 2));
    out(0xa1, !(1 << 5));
    ready();
    traps::clear();
    unasked(
        "an x87 exception with NE clear is an interrupt by line 13, once",
        ABORTS,
        || {
            let stop = Run::new(divides()).flags(IF).go();
            (stop.vector, traps::count(), traps::taken(0).0)
        },
        (3, 1, LINE_13),
    );
    unasked(
        "and comes before the next waiting instruction is done",
        ABORTS,
        || {
            traps::clear();
            let code = divides();
            let _ = Run::new(code).flags(IF).go();
            let offset = traps::taken(0).1.wrapping_sub(code.0);
            (12..=14).contains(&offset)
        },
        true,
    );
    unasked(
        "with NE set it is #MF again",
        ABORTS,
        || {
            let _ = Register::Cr0.set(Register::Cr0.get() | NE);
            traps::clear();
            (Run::new(divides()).flags(IF).go().vector, traps::count())
        },
        (FLOATING_POINT, 0),
    );
    let _ = Run::new(code!("fninit")).go();
    out(0x21, 0xff);
    out(0xa1, 0xff);
}

/// So many that host interrupts come between, each with the line's handler.
fn many() {
    section("many");
    out(0x21, !(1 << 2));
    out(0xa1, !(1 << 5));
    let rounds = parameters::number("rounds", 2000);
    ready();
    unasked(
        "thousands of them",
        ABORTS,
        || {
            let mut wrong = 0;
            for round in 0..rounds {
                traps::clear();
                let stop = Run::new(divides()).flags(IF).go();
                wrong += u64::from((stop.vector, traps::count()) != (3, 1));
                if round % 500 == 0 {
                    println!("own ok round {round}");
                }
            }
            wrong
        },
        0,
    );
    let _ = Register::Cr0.set(Register::Cr0.get() | NE);
    let _ = Run::new(code!("fninit")).go();
    out(0x21, 0xff);
    out(0xa1, 0xff);
}
