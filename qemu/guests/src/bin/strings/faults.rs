//! A page that is not there, in the middle: what went before is done, what comes after is not, and the handler may go on.

use atoll_guests::check::{equal, section};
use atoll_guests::memory::{fill, holds};
use atoll_guests::paging::{self, ACCESSED, DIRTY, PAGE, PRESENT, WRITABLE};
use atoll_guests::run::register::{RCX, RDI, RSI};
use atoll_guests::run::{DF, Stop};
use atoll_guests::{code, traps};

use crate::looped::{DATA, looped, received, send};
use crate::{SCRATCH, frame, map_all, string};

const PAGE_FAULT: u8 = 14;
const EIGHT: &[u8; 8] = b"12345678";

/// Vector, error code, CR2, where, and what is left.
fn fault(stop: &Stop, index: usize) -> (u8, u64, u64, u64, u64, u64) {
    (
        stop.vector,
        stop.error,
        stop.cr2,
        stop.offset,
        stop.general[index],
        stop.general[RCX],
    )
}

/// Maps the second page and lets the instruction go on.
fn repair(_: &mut traps::Frame) {
    paging::map(1, frame(1), PRESENT | WRITABLE);
}

/// Maps the first page and lets the instruction go on.
fn repair_first(_: &mut traps::Frame) {
    paging::map(0, frame(0), PRESENT | WRITABLE);
}

pub(crate) fn input() {
    section("faults of ins");
    map_all();
    let edge = paging::at(1);
    paging::unmap(1);
    fill(frame(0) + PAGE - 4, &[0x11; 4]);
    let (stop, rest) = looped(|| {
        send(EIGHT);
        (string(code!("rep insb"), DATA, edge - 3, 8, 0), received())
    });
    equal(
        "rep insb stops at the page",
        fault(&stop, RDI),
        (PAGE_FAULT, 2, edge, 0, edge, 5),
    );
    equal(
        "three bytes are there",
        holds(frame(0) + PAGE - 4, b"\x11123"),
        true,
    );
    equal(
        "five are not taken",
        rest,
        (u64::from_le_bytes(*b"45678\0\0\0").into(), 5),
    );

    let (stop, rest) = looped(|| {
        send(EIGHT);
        (string(code!("rep insb"), DATA, edge, 8, 0), received())
    });
    equal(
        "at the page's first byte nothing happens",
        fault(&stop, RDI),
        (PAGE_FAULT, 2, edge, 0, edge, 8),
    );
    equal("and nothing is taken", rest.1, 8);

    let stop = string(code!("insd"), 0x3fc, edge - 2, 7, 0);
    equal(
        "an element into the page",
        fault(&stop, RDI),
        (PAGE_FAULT, 2, edge, 0, edge - 2, 7),
    );
    let stop = string(code!("nop", "insb"), SCRATCH, edge + 5, 7, 0);
    equal(
        "without rep",
        fault(&stop, RDI),
        (PAGE_FAULT, 2, edge + 5, 1, edge + 5, 7),
    );

    fill(frame(0) + PAGE - 4, &[0x11; 4]);
    fill(frame(1), &[0x11; 8]);
    traps::on(PAGE_FAULT, repair);
    traps::clear();
    let (stop, rest) = looped(|| {
        send(EIGHT);
        (string(code!("rep insb"), DATA, edge - 3, 8, 0), received())
    });
    traps::forget(PAGE_FAULT);
    equal(
        "it goes on when the page is there",
        (stop.vector, stop.general[RDI], stop.general[RCX], rest),
        (3, edge + 5, 0, (0, 0)),
    );
    equal("after one fault", traps::count(), 1);
    equal(
        "with nothing lost",
        (
            holds(frame(0) + PAGE - 4, b"\x11123"),
            holds(frame(1), b"45678\x11"),
        ),
        (true, true),
    );

    paging::unmap(0);
    let (stop, rest) = looped(|| {
        send(EIGHT);
        (string(code!("rep insb"), DATA, edge + 2, 8, DF), received())
    });
    equal(
        "downwards it stops at the page below",
        fault(&stop, RDI),
        (PAGE_FAULT, 2, edge - 1, 0, edge - 1, 5),
    );
    equal(
        "with three bytes there",
        (holds(frame(1), b"321"), rest.1),
        (true, 5),
    );

    map_all();
    paging::map(1, frame(1), PRESENT);
    let code = code!("mov rax, cr0", "bts eax, 16", "mov cr0, rax", "rep insb");
    let stop = string(code, SCRATCH, edge - 3, 8, 0);
    equal(
        "a page that is read-only",
        fault(&stop, RDI),
        (PAGE_FAULT, 3, edge, 10, edge, 5),
    );
}

pub(crate) fn output() {
    section("faults of outs");
    map_all();
    let edge = paging::at(1);
    fill(edge - 3, &EIGHT[..3]);
    fill(edge, &EIGHT[3..]);
    paging::unmap(1);
    let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, edge - 3, 8, 0), received()));
    equal(
        "rep outsb stops at the page",
        fault(&stop, RSI),
        (PAGE_FAULT, 0, edge, 0, edge, 5),
    );
    equal(
        "three bytes are sent",
        got,
        (u64::from_le_bytes(*b"123\0\0\0\0\0").into(), 3),
    );
    let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, edge + 1, 8, 0), received()));
    equal(
        "in the page nothing happens",
        (fault(&stop, RSI), got),
        ((PAGE_FAULT, 0, edge + 1, 0, edge + 1, 8), (0, 0)),
    );
    let stop = string(code!("outsd"), 0x3fc, edge - 2, 7, 0);
    equal(
        "an element out of the page",
        fault(&stop, RSI),
        (PAGE_FAULT, 0, edge, 0, edge - 2, 7),
    );

    traps::on(PAGE_FAULT, repair);
    traps::clear();
    let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, edge - 3, 8, 0), received()));
    equal(
        "it goes on when the page is there",
        (stop.vector, stop.general[RSI], stop.general[RCX]),
        (3, edge + 5, 0),
    );
    equal(
        "each byte is sent once",
        (traps::count(), got),
        (1, (u64::from_le_bytes(*EIGHT).into(), 8)),
    );
    paging::unmap(0);
    traps::on(PAGE_FAULT, repair_first);
    traps::clear();
    let (stop, got) = looped(|| {
        (
            string(code!("rep outsb"), DATA, edge + 4, 8, DF),
            received(),
        )
    });
    traps::forget(PAGE_FAULT);
    equal(
        "downwards, too",
        (stop.vector, stop.general[RSI], stop.general[RCX]),
        (3, edge - 4, 0),
    );
    equal(
        "in reverse",
        (traps::count(), got),
        (1, (u64::from_be_bytes(*EIGHT).into(), 8)),
    );
}

pub(crate) fn bits() {
    section("accessed and dirty");
    map_all();
    let seen = |page| paging::entry(page) & (ACCESSED | DIRTY);
    let stop = string(code!("rep insb"), SCRATCH, paging::at(2) - 1, 3, 0);
    equal(
        "input sets both",
        (stop.vector, seen(1), seen(2), seen(3)),
        (3, ACCESSED | DIRTY, ACCESSED | DIRTY, 0),
    );
    let stop = string(code!("rep outsb"), SCRATCH, paging::at(5) - 1, 3, 0);
    equal(
        "output sets one",
        (stop.vector, seen(4), seen(5), seen(6)),
        (3, ACCESSED, ACCESSED, 0),
    );
}
