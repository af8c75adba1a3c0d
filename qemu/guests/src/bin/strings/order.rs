//! Order and number of the accesses.

use atoll_guests::check::{equal, section};
use atoll_guests::code;
use atoll_guests::memory::{fill, holds, load64, store64};
use atoll_guests::run::DF;
use atoll_guests::run::register::{RDI, RSI};

use crate::looped::{DATA, looped, received, send};
use crate::{SCRATCH, frame, moved, string};

const TEXT: [u8; 12] = *b"string input";

pub(crate) fn order() {
    section("order");
    let at = frame(0) + 64;
    fill(at, &TEXT);
    let all = TEXT
        .iter()
        .rev()
        .fold(0, |all, byte| all << 8 | u128::from(*byte));
    let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, at, 12, 0), received()));
    equal(
        "rep outsb sends each byte once, in order",
        (stop.vector, moved(&stop, RSI, at), got),
        (3, (12, 0), (all, 12)),
    );
    let (stop, got) = looped(|| {
        (
            string(code!("rep outsb"), DATA, at + 11, 12, DF),
            received(),
        )
    });
    let reverse = TEXT
        .iter()
        .fold(0, |all, byte| all << 8 | u128::from(*byte));
    equal(
        "downwards in reverse",
        (stop.vector, moved(&stop, RSI, at + 11), got),
        (3, (-12, 0), (reverse, 12)),
    );
    for (name, code, flags, from, step) in [
        ("rep insb", code!("rep insb"), 0, at, 12),
        ("rep insb downwards", code!("rep insb"), DF, at + 11, -12),
    ] {
        fill(at - 1, &[0x11; 14]);
        let (stop, rest) = looped(|| {
            send(&TEXT);
            (string(code, DATA, from, 12, flags), received())
        });
        let mut text = TEXT;
        if step < 0 {
            text.reverse();
        }
        equal(
            format_args!("{name} takes each byte once"),
            (stop.vector, moved(&stop, RDI, from), rest),
            (3, (step, 0), (0, 0)),
        );
        equal(
            format_args!("{name} puts them in order"),
            (
                holds(at, &text),
                holds(at - 1, &[0x11]),
                holds(at + 12, &[0x11]),
            ),
            (true, true, true),
        );
    }
    store64(at, 0);
    let rest = looped(|| {
        send(&TEXT);
        for offset in 0..3 {
            let _ = string(code!("insb"), DATA, at + offset, 0, 0);
        }
        received()
    });
    equal(
        "insb takes one",
        (load64(at), rest),
        (u64::from_le_bytes(*b"str\0\0\0\0\0"), (all >> 24, 9)),
    );
}

pub(crate) fn counts() {
    section("counts");
    let at = frame(0) + 64;
    fill(at, &TEXT);
    let (stop, got) = looped(|| {
        send(&TEXT[..3]);
        (string(code!("rep insb"), DATA, at, 0, 0), received())
    });
    equal(
        "rep insb of nothing",
        (stop.vector, moved(&stop, RDI, at), got.1, holds(at, &TEXT)),
        (3, (0, 0), 3, true),
    );
    let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, at, 0, 0), received()));
    equal(
        "rep outsb of nothing",
        (stop.vector, moved(&stop, RSI, at), got),
        (3, (0, 0), (0, 0)),
    );
    for count in [1, 2, 3, 7, 16] {
        let (stop, got) = looped(|| (string(code!("rep outsb"), DATA, at, count, 0), received()));
        equal(
            format_args!("rep outsb of {count}"),
            (moved(&stop, RSI, at), u64::from(got.1)),
            ((count as i64, 0), count),
        );
    }
    let stop = string(code!("rep outsd"), 0x5100, at, 300, 0);
    equal("rep outsd of 300", moved(&stop, RSI, at), (1200, 0));
    let stop = string(code!("rep insw"), 0x5100, at, 5, 0);
    equal(
        "rep insw of 5",
        (moved(&stop, RDI, at), holds(at, &[0xff; 10])),
        ((10, 0), true),
    );
    let stop = string(code!("outsb", "insb", "outsb"), SCRATCH, at, 5, 0);
    equal(
        "one after the other",
        (stop.place(), stop.general[RSI], stop.general[RDI]),
        ((3, 4), at + 2, at + 1),
    );
}
