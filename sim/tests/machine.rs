//! What the million faults are played on: machines that see nothing of swaps, and that answer with every effect there is.

use std::sync::Arc;

use atoll_protocol::inject::Plan;
use atoll_sim::aim::Aim;
use atoll_sim::campaign::STEPS;
use atoll_sim::cast::Cast;
use atoll_sim::cells::{UNUSED, answered};
use atoll_sim::play::{Scenario, play};

fn cast() -> Arc<Cast> {
    let machine = atoll_manifest::Machine::linux().expect("the machine that boots Linux");
    Cast::new(&machine.pack().expect("its manifest packs"))
        .expect("all its servers are on the host")
}

#[test]
fn nobody_sees_that_servers_are_swapped() {
    let cast = cast();
    for seed in 0..20 {
        let scenario = Scenario {
            swaps: 100,
            power_off: true,
            ..Scenario::new(Plan::NONE, seed, STEPS)
        };
        let played = play(&cast, scenario).unwrap_or_else(|broken| panic!("{broken}"));
        assert!(played.state.machine.supervisor().succeeded() > 0);
    }
}

#[test]
fn every_effect_is_answered_or_there_is_a_reason() {
    let aim = Aim::learn(&cast(), 1).unwrap_or_else(|broken| panic!("{broken}"));
    let missing: Vec<_> = answered().filter(|effect| !aim.knows(effect)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(UNUSED.iter().all(|(effect, _)| !aim.knows(effect)));
}
