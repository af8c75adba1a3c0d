//! The fuzzer of privileged sequences, while host interrupts arrive: in real time, with input typed all the time. What the architecture
//! says comes of each sequence is the same directly in QEMU.

use std::time::Duration;

use atoll::control::Line;
use atoll::control::listing::listing;
use atoll::run::End;
use atoll::testing::{Boot, Booted};

use crate::topic::{agree, complete, unharmed};

/// Sequences of one machine.
const PIECE: u64 = 1500;
/// After so many there is a digest.
const EVERY: u64 = 100;
/// So many are tried unless this is set: a hundred take about a second, here and directly in QEMU.
const STEPS: &str = "ATOLL_FUZZ_STEPS";
const SAMPLE: u64 = 2 * PIECE;
/// The first seed, unless this is set.
const SEED: &str = "ATOLL_FUZZ_SEED";
/// A piece takes seconds; on a busy host many.
const PATIENCE: Duration = Duration::from_secs(600);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number, such as {name}=1000000"))
    })
}

fn boot(seed: u64) -> Boot {
    Boot::guest("fuzz")
        .append(&format!("seed={seed} steps={PIECE} every={EVERY}"))
        .patience(PATIENCE)
}

/// The digests. Bytes that a sequence has sent may stand before them.
fn digests(booted: &Booted) -> Vec<&str> {
    booted
        .console
        .lines()
        .filter_map(|line| line.find("value after ").map(|at| line[at..].trim_end()))
        .collect()
}

/// Types one key whenever a line has come, and asks the control line; how often it has answered.
fn disturbed(boot: &Boot) -> (Booted, usize) {
    boot.meanwhile(|machine| {
        let (mut lines, mut answers) = (0, 0);
        while let Some(now) = machine.wait_for_lines(lines) {
            lines = now;
            machine.press("x\rfuzz");
            let answered = Line::at("fuzz", machine).and_then(|mut line| listing(&mut line, false));
            answers += usize::from(answered.is_ok());
        }
        answers
    })
    .unwrap()
}

#[test]
fn sequences_that_once_differed_end_as_on_a_pc() {
    complete("fuzz");
    agree("fuzz", "known");
}

#[test]
fn privileged_sequences_under_host_interrupts_are_those_of_a_pc() {
    let pieces = number(STEPS, SAMPLE).div_ceil(PIECE);
    let first = number(SEED, 1);
    for seed in first..first + pieces {
        let (booted, answers) = disturbed(&boot(seed));
        let direct = boot(seed).direct().run().unwrap();
        let context = || format!("seed {seed}\n{}\n{}", booted.console, booted.log);
        assert_eq!(
            (booted.status, &booted.ended.end),
            (0, &End::PowerOff),
            "{}",
            context()
        );
        unharmed(&booted);
        assert!(
            answers > 0,
            "the control line never answered: {}",
            context()
        );
        assert_eq!(
            digests(&booted),
            digests(&direct),
            "on Atoll (left) and directly in QEMU: {}",
            context()
        );
        assert_eq!(
            digests(&booted).len() as u64,
            PIECE / EVERY,
            "{}",
            context()
        );
    }
}
