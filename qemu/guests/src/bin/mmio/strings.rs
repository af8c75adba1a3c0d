//! String instructions: those with one operand, and those with the other one in RAM.

use atoll_guests::apic::SELECT;
use atoll_guests::check::{equal, section};
use atoll_guests::forms::{NARROW, With, flags};
use atoll_guests::memory::{fill, load, load64, store, store64};
use atoll_guests::run::register::{RCX, RDI, RSI};
use atoll_guests::run::{Code, DF, Run};
use atoll_guests::{code, forms};

use crate::PAGES;

pub(crate) fn strings() {
    section("stos and lods");
    for count in [1, 2, 4] {
        let with = With { flags: 0, count };
        forms::all(
            &forms! { "rep stosb", "stosb", "lodsb" },
            NARROW,
            flags::ALL,
            with,
        );
        forms::all(
            &forms! { "rep stosd", "rep stosw", "rep stosq", "stosw", "stosd", "stosq" },
            NARROW,
            flags::ALL,
            with,
        );
        forms::all(
            &forms! { "lodsw", "lodsd", "rep lodsb" },
            NARROW,
            flags::ALL,
            with,
        );
    }
    let none = With { flags: 0, count: 0 };
    forms::all(
        &forms! { "rep stosb", "rep lodsb", "rep movsb", "repne scasb", "repe cmpsb" },
        NARROW,
        flags::ALL,
        none,
    );
    let down = With {
        flags: DF,
        count: 1,
    };
    forms::all(
        &forms! { "stosb", "stosw", "stosd", "stosq", "lodsb", "lodsd", "rep stosb", "rep lodsw" },
        NARROW,
        flags::ALL,
        down,
    );
    section("scas and cmps");
    for count in [1, 3, 4] {
        let with = With { flags: 0, count };
        forms::all(
            &forms! { "scasb", "scasw", "scasd", "repne scasb", "repe scasb" },
            NARROW,
            flags::ALL,
            with,
        );
    }
    forms::all(&forms! { "scasd", "scasb" }, NARROW, flags::ALL, down);
}

/// MOVS and CMPS have an operand in RAM, too.
pub(crate) fn string_operands() {
    section("movs and cmps");
    let ram = PAGES.get().addr() as u64;
    let both = |code: Code, source: u64, destination: u64, count, flags| {
        let stop = Run::new(code)
            .with(RSI, source)
            .with(RDI, destination)
            .with(RCX, count)
            .flags(flags)
            .go();
        let moved = (
            stop.general[RSI].wrapping_sub(source) as i64,
            stop.general[RDI].wrapping_sub(destination) as i64,
        );
        (stop.vector, moved, stop.general[RCX], stop.status() & 0x40)
    };
    for (name, code, size) in [
        ("movsb", code!("movsb"), 1),
        ("movsw", code!("movsw"), 2),
        ("movsd", code!("movsd"), 4),
        ("movsq", code!("movsq"), 8),
    ] {
        store64(ram, 0x77);
        store(SELECT, 0);
        equal(
            format_args!("{name} to the device"),
            (both(code, ram, SELECT, 9, 0), load(SELECT)),
            ((3, (size, size), 9, 0), 0x77),
        );
        store(SELECT, 0x5d);
        store64(ram, u64::MAX);
        let want = if size == 8 {
            0x5d
        } else {
            u64::MAX << (size * 8) | 0x5d
        };
        equal(
            format_args!("{name} from the device"),
            (both(code, SELECT, ram, 9, 0), load64(ram)),
            ((3, (size, size), 9, 0), want),
        );
        store(SELECT, 0x5e);
        store64(ram, u64::MAX);
        let want = if size == 8 {
            0x5e
        } else {
            u64::MAX << (size * 8) | 0x5e
        };
        equal(
            format_args!("{name} downwards"),
            (both(code, SELECT, ram, 9, DF), load64(ram)),
            ((3, (-size, -size), 9, 0), want),
        );
    }
    store(SELECT, 0xa7);
    fill(ram, &[0x11; 8]);
    equal(
        "rep movsb from the device",
        (both(code!("rep movsb"), SELECT, ram, 4, 0), load64(ram)),
        ((3, (4, 4), 0, 0), 0x1111_1111_0000_00a7),
    );
    fill(ram, &[0x3b, 0x22, 0x33, 0x44, 0, 0, 0, 0]);
    equal(
        "rep movsb to the device",
        (both(code!("rep movsb"), ram, SELECT, 4, 0), load(SELECT)),
        ((3, (4, 4), 0, 0), 0x3b),
    );
    equal(
        "rep movsd to the device",
        (both(code!("rep movsd"), ram, SELECT, 4, 0), load(SELECT)),
        ((3, (16, 16), 0, 0), 0x3b),
    );
    store(SELECT, 0x3b);
    equal(
        "cmpsb of what is equal",
        both(code!("cmpsb"), SELECT, ram, 9, 0),
        (3, (1, 1), 9, 0x40),
    );
    equal(
        "cmpsb with the device second",
        both(code!("cmpsb"), ram, SELECT, 9, 0),
        (3, (1, 1), 9, 0x40),
    );
    equal(
        "repe cmpsb up to what differs",
        both(code!("repe cmpsb"), ram, SELECT, 4, 0),
        (3, (2, 2), 2, 0),
    );
    fill(ram, &[0x3b, 0, 0, 0]);
    equal(
        "repe cmpsb to the end",
        both(code!("repe cmpsb"), SELECT, ram, 4, 0),
        (3, (4, 4), 0, 0x40),
    );
    equal(
        "repne cmpsb stops at once",
        both(code!("repne cmpsb"), SELECT, ram, 4, 0),
        (3, (1, 1), 3, 0x40),
    );
}
