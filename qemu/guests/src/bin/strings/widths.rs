//! Each width once, and with the prefixes that matter.

use atoll_guests::apic::{inb, out};
use atoll_guests::check::{equal, section};
use atoll_guests::code;
use atoll_guests::memory::{load64, store64};
use atoll_guests::run::register::{RAX, RBX, RCX, RDI, RDX, RSI};
use atoll_guests::run::{Code, DF, Run};

use crate::{SCRATCH, frame, moved, string};

/// Modem status and scratch.
const PAIR: u16 = 0x3fe;
/// Modem control, line status, modem status, scratch.
const FOUR: u16 = 0x3fc;
/// A port that is nobody's.
const NOBODYS: u16 = 0x5100;

/// What IN reads there.
fn input_of(code: Code, port: u16) -> u64 {
    Run::new(code).with(RDX, u64::from(port)).go().general[RAX]
}

pub(crate) fn input() {
    section("ins");
    let at = frame(0) + 64;
    out(SCRATCH, 0xa6);
    out(FOUR, 3);
    let four = input_of(code!("in eax, dx"), FOUR);
    let pair = input_of(code!("in ax, dx"), PAIR);
    for (name, code, port, size, value) in [
        ("insb", code!("insb"), SCRATCH, 1, 0xa6),
        ("insw", code!("insw"), PAIR, 2, pair),
        ("insd", code!("insd"), FOUR, 4, four),
        ("insb of nobody's port", code!("insb"), NOBODYS, 1, 0xff),
        ("insw of nobody's port", code!("insw"), NOBODYS, 2, 0xffff),
        (
            "insd of nobody's port",
            code!("insd"),
            NOBODYS,
            4,
            0xffff_ffff,
        ),
        ("rex.w insd", code!(".byte 0x48", "insd"), FOUR, 4, four),
    ] {
        for (direction, flags, step) in [("up", 0, size), ("down", DF, -size)] {
            store64(at, 0x1111_1111_1111_1111);
            let stop = string(code, port, at, 9, flags);
            let want = 0x1111_1111_1111_1111 & u64::MAX << (size * 8) | value;
            equal(
                format_args!("{name} {direction}"),
                (stop.vector, moved(&stop, RDI, at), load64(at)),
                (3, (step, 9), want),
            );
            equal(
                format_args!("{name} {direction} leaves the rest"),
                (stop.general[RSI], stop.general[RDX], stop.status()),
                (at, u64::from(port), 0),
            );
        }
    }
    store64(at, 0);
    let stop = string(code!("insd"), FOUR, at + 1, 0, 0);
    equal(
        "insd to an odd address",
        (moved(&stop, RDI, at), load64(at)),
        ((5, 0), four << 8),
    );
}

pub(crate) fn output() {
    section("outs");
    let at = frame(0) + 64;
    for (name, code, port, size, value, scratch) in [
        ("outsb", code!("outsb"), SCRATCH, 1, 0x77, 0x77),
        ("outsw", code!("outsw"), PAIR, 2, 0x7800, 0x78),
        ("outsd", code!("outsd"), FOUR, 4, 0x7900_0003, 0x79),
        (
            "outsd to nobody's port",
            code!("outsd"),
            NOBODYS,
            4,
            0x7a7a_7a7a,
            0x55,
        ),
        (
            "outsw to nobody's port",
            code!("outsw"),
            NOBODYS,
            2,
            0x7a7a,
            0x55,
        ),
        (
            "rex.w outsd",
            code!(".byte 0x48", "outsd"),
            FOUR,
            4,
            0x7b00_0003,
            0x7b,
        ),
    ] {
        for (direction, flags, step) in [("up", 0, size), ("down", DF, -size)] {
            out(SCRATCH, 0x55);
            store64(at, value);
            let stop = string(code, port, at, 9, flags);
            equal(
                format_args!("{name} {direction}"),
                (stop.vector, moved(&stop, RSI, at), inb(SCRATCH)),
                (3, (step, 9), scratch),
            );
            equal(
                format_args!("{name} {direction} leaves the rest"),
                (stop.general[RDI], load64(at), stop.status()),
                (at, value, 0),
            );
        }
    }
}

pub(crate) fn prefixes() {
    section("prefixes");
    let at = frame(0) + 64;
    out(SCRATCH, 0x3e);
    store64(at, 0);
    let stop = string(code!(".byte 0xf2", "insb"), SCRATCH, at, 3, 0);
    equal(
        "f2 repeats as f3 does",
        (moved(&stop, RDI, at), load64(at)),
        ((3, 0), 0x3e_3e3e),
    );
    store64(at, 0);
    let high = 0xdead_0000_0000_0000;
    let run = |code: Code| {
        Run::new(code)
            .with(RDX, SCRATCH.into())
            .with(RDI, high | at)
            .with(RSI, high | at)
            .with(RCX, high | 3)
            .go()
    };
    let stop = run(code!(".byte 0x67", "rep insb"));
    equal(
        "67 takes and leaves 32 bits",
        (stop.general[RDI], stop.general[RCX], load64(at)),
        (at + 3, 0, 0x3e_3e3e),
    );
    store64(at, 0x33_2211);
    let stop = run(code!(".byte 0x67", "rep outsb"));
    equal(
        "67 for output",
        (stop.general[RSI], stop.general[RCX], inb(SCRATCH)),
        (at + 3, 0, 0x33),
    );
    let based = code!(
        "mov ecx, 0xc0000101",
        "mov eax, ebx",
        "mov r9d, edx",
        "xor edx, edx",
        "wrmsr",
        "mov edx, r9d",
        ".byte 0x65",
        "outsb"
    );
    store64(at, 0x00c3_0000);
    let stop = Run::new(based)
        .with(RBX, at)
        .with(RSI, 2)
        .with(RDX, SCRATCH.into())
        .go();
    equal(
        "gs is added for output",
        (stop.vector, stop.general[RSI], inb(SCRATCH)),
        (3, 3, 0xc3),
    );
    store64(at, 0);
    let stop = Run::new(code!(".byte 0x65", "insb"))
        .with(RDI, at)
        .with(RDX, SCRATCH.into())
        .go();
    equal("but not for input", (stop.vector, load64(at)), (3, 0xc3));
    let stop = string(code!(".byte 0x66, 0x2e, 0x26", "rep insd"), 0x3fe, at, 1, 0);
    equal("66 before f3", moved(&stop, RDI, at), (2, 0));
}
