//! Faults in the messages and answers of the real servers: a part of what `examples/million.rs` plays.

use atoll_protocol::inject::{Injection, Model};
use atoll_sim::campaign::{STEPS, models, round};
use atoll_sim::lockstep::play;
use atoll_sim::tally::Tally;

/// Rounds over all models.
const ROUNDS: u64 = 40;

fn rounds(intact: bool) -> Tally {
    let mut tally = Tally::default();
    (0..ROUNDS).for_each(|number| tally.add(&round(&models(intact), number, 1)));
    tally
}

#[test]
fn a_run_without_faults_equals_itself() {
    let nobody = Injection { model: Model::Crash.number(), server: 31, ..Injection::default() };
    let played = play(Model::Crash, nobody, 1, STEPS);
    assert_eq!(played.state.machine.tally.faults, 0);
}

#[test]
fn the_guest_and_the_world_see_nothing_of_faults_that_leave_committed_state_as_it_was() {
    let tally = rounds(true);
    assert!(tally.faults > 10_000, "{} faults only", tally.faults);
    let hit = |model: Model| tally.cells.keys().any(|(name, _)| *name == model.name());
    assert!(models(true).into_iter().all(hit));
}

#[test]
fn faults_that_damage_what_is_committed_break_no_rule_of_the_kernels_own() {
    let tally = rounds(false);
    assert!(tally.faults > 10_000, "{} faults only", tally.faults);
}

#[test]
#[should_panic(expected = "it sees")]
fn a_lost_effect_is_seen() {
    // A model that does change what the guest sees, played as if it did not: the comparison has to notice.
    let wrong =
        Injection { model: Model::WrongValue.number(), server: 1, kind: 0, every: 1, argument: 0x1234, ..Injection::default() };
    let _ = play(Model::Crash, wrong, 7, STEPS);
}
