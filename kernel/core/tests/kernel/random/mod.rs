//! A million answers that nobody thought of.

mod answers;
mod books;
pub(crate) mod dice;
mod effects;
mod improviser;
mod play;
mod tally;

use dice::Dice;
use play::Play;
#[cfg(test)]
use tally::Tally;

/// Answers of one run.
const ANSWERS: u64 = 1_000_000;
/// How often each kind of effect, and each reason for rejection, must be met.
const OFTEN: u64 = 1000;
/// Every reason by which an answer can be rejected.
const REASONS: [&str; 20] = [
    "Killed",
    "Exception",
    "Hang",
    "Overrun",
    "Oversized",
    "Malformed",
    "TooManyEffects",
    "WrongRole",
    "NotGranted",
    "BadValue",
    "OutsideMemory",
    "OutsideVault",
    "TicketOpen",
    "WrongTicket",
    "WrongReply",
    "WrongNeed",
    "Credit",
    "Exhausted",
    "NotInPlace",
    "Panicked",
];

/// Plays as these bytes say, and to their end; panics if the kernel breaks a rule of its own.
pub(crate) fn play(bytes: &[u8]) {
    let mut play = Play::new(Dice::loaded(bytes));
    while !play.is_over() {
        play.round();
    }
}

#[test]
fn whatever_bytes_say_is_played_to_its_end() {
    for byte in 0..=255 {
        play(&[byte; 200]);
    }
    play(&[]);
}

#[test]
fn a_million_random_answers_break_no_rule_of_the_kernels_own() {
    let mut play = Play::new(Dice::new(0x000a_7011));
    while play.tally().answers < ANSWERS {
        play.round();
    }
    let tally = play.tally();
    let share = |count: u64| count * 100 / tally.answers;
    println!(
        "{} answers: {} % decode, {} % commit, {} % again",
        tally.answers,
        share(tally.decoded),
        share(tally.committed),
        share(tally.again)
    );
    for (kind, (met, carried_out)) in tally.met.iter().zip(&tally.carried_out).enumerate() {
        println!(
            "{:>14}: met {met:>7}, carried out {carried_out:>7}",
            Tally::name(kind)
        );
    }
    for (reason, count) in &tally.reasons {
        println!("{reason:>14}: {count:>7}");
    }
    assert!(share(tally.decoded) >= 30 && share(tally.committed) >= 5);
    for (kind, met) in tally.met.iter().enumerate() {
        assert!(
            *met >= OFTEN,
            "{} was met {met} times only",
            Tally::name(kind)
        );
    }
    for reason in REASONS {
        let count = tally.reasons.get(reason).copied().unwrap_or(0);
        // There is not always a succession.
        let least = if reason == "NotInPlace" {
            OFTEN / 4
        } else {
            OFTEN
        };
        assert!(count >= least, "{reason} was met {count} times only");
    }
    assert_eq!(
        tally.reasons.len(),
        REASONS.len(),
        "a reason that this test does not know"
    );
}
