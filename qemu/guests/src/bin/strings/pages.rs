//! Across pages that do not follow each other in memory, and with an interrupt in the middle.

use atoll_guests::apic::{self, inb, out};
use atoll_guests::check::{equal, section};
use atoll_guests::memory::{fill, holds};
use atoll_guests::paging::{self, PAGE};
use atoll_guests::run::register::{RDI, RSI};
use atoll_guests::run::{DF, IF};
use atoll_guests::{code, traps};

use crate::looped::{DATA, looped, received, send};
use crate::{SCRATCH, frame, map_all, moved, string};

const VECTOR: u8 = 0x63;

pub(crate) fn pages() {
    section("pages");
    map_all();
    let edge = paging::at(1);
    for (name, flags, from) in [("up", 0, edge - 3), ("down", DF, edge + 4)] {
        fill(edge - 4, &[0x11; 4]);
        fill(edge, &[0x11; 6]);
        let (stop, rest) = looped(|| {
            send(b"12345678");
            (string(code!("rep insb"), DATA, from, 8, flags), received())
        });
        let step = if flags == DF { -8 } else { 8 };
        equal(
            format_args!("insb {name}"),
            (stop.vector, moved(&stop, RDI, from), rest),
            (3, (step, 0), (0, 0)),
        );
        let (low, high) = if flags == DF {
            (b"\x11876", b"54321\x11")
        } else {
            (b"\x11123", b"45678\x11")
        };
        equal(
            format_args!("insb {name}, in both frames"),
            (holds(frame(0) + PAGE - 4, low), holds(frame(1), high)),
            (true, true),
        );
        fill(edge - 3, b"abc");
        fill(edge, b"defgh");
        let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, from, 8, flags), received()));
        let want = if flags == DF {
            u64::from_be_bytes(*b"abcdefgh")
        } else {
            u64::from_le_bytes(*b"abcdefgh")
        };
        equal(
            format_args!("outsb {name}"),
            (moved(&stop, RSI, from), got),
            ((step, 0), (want.into(), 8)),
        );
    }
    // An element that lies in both pages.
    out(SCRATCH, 0xa1);
    for (name, code, port, size) in [
        ("insw", code!("insw"), 0x3fe, 2),
        ("insd", code!("rep insd"), 0x3fc, 4),
    ] {
        fill(edge - 4, &[0x11; 8]);
        let stop = string(code, port, edge - 1, 1, 0);
        let left = if size == 2 { 1 } else { 0 };
        equal(
            format_args!("{name} in two pages"),
            (stop.vector, moved(&stop, RDI, edge - 1)),
            (3, (size, left)),
        );
        equal(
            format_args!("{name} in two frames"),
            (
                holds(frame(0) + PAGE - 2, &[0x11]),
                holds(frame(1) + size as u64 - 2, &[0xa1, 0x11]),
            ),
            (true, true),
        );
    }
    fill(edge - 1, &[0]);
    fill(edge, &[0x9d]);
    let _ = string(code!("outsw"), 0x3fe, edge - 1, 0, 0);
    equal("outsw from two pages", inb(SCRATCH), 0x9d);
    // Five pages and a bit.
    const LONG: u64 = 5 * PAGE + 1234;
    for (flags, from, step) in [
        (0, paging::at(0) + 77, LONG as i64),
        (DF, paging::at(0) + 76 + LONG, -(LONG as i64)),
    ] {
        for page in 0..8 {
            fill(frame(page), &[0x11; PAGE as usize]);
        }
        let stop = string(code!("rep insb"), SCRATCH, from, LONG, flags);
        equal(
            format_args!("a long one, flags {flags:x}"),
            (stop.vector, moved(&stop, RDI, from)),
            (3, (step, 0)),
        );
        let inside = (1..5).all(|page| holds(frame(page), &[0x9d; PAGE as usize]));
        let ends = (
            holds(paging::at(0) + 76, &[0x11, 0x9d]),
            holds(paging::at(0) + 76 + LONG, &[0x9d, 0x11]),
        );
        equal(
            format_args!("a long one is complete, flags {flags:x}"),
            (inside, ends),
            (true, (true, true)),
        );
    }
    fill(paging::at(5) + 99, &[0x42]);
    let stop = string(
        code!("rep outsb"),
        SCRATCH,
        paging::at(0),
        5 * PAGE + 100,
        0,
    );
    equal("a long output", (stop.vector, inb(SCRATCH)), (3, 0x42));
}

/// The timer fires while it runs: the interrupt comes at the instruction, with registers that say how far it is.
pub(crate) fn interrupted() {
    section("interrupted");
    map_all();
    for page in 0..8 {
        fill(frame(page), &[0x11; PAGE as usize]);
    }
    out(SCRATCH, 0x6b);
    traps::on(VECTOR, |_| apic::end());
    traps::clear();
    apic::one_shot(VECTOR, 3000);
    let code = code!("rep insb");
    let from = paging::at(0);
    let stop = string(code, SCRATCH, from, 7 * PAGE, IF);
    equal(
        "the interrupt comes once, at the instruction",
        (traps::count(), traps::taken(0)),
        (1, (VECTOR, code.0)),
    );
    equal(
        "the string is whole",
        (stop.vector, moved(&stop, RDI, from)),
        (3, (7 * PAGE as i64, 0)),
    );
    let whole = (0..7).all(|page| holds(frame(page), &[0x6b; PAGE as usize]));
    equal(
        "the memory, too",
        (whole, holds(frame(7), &[0x11; 16])),
        (true, true),
    );
    traps::forget(VECTOR);
}
