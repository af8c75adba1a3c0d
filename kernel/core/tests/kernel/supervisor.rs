//! The supervisor is restarted by the kernel, and goes on where its vault says it was.

use atoll_core::machine::Outcome;
use atoll_core::run::Turn;
use atoll_protocol::effect::{Effect, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::message::Body;
use atoll_protocol::units::ServerId;

use crate::cast::{CPUID, SUPERVISOR};
use crate::exits::Exit;
use crate::restart::order;
use crate::script::message;
use crate::world::World;

#[test]
fn it_is_restarted_in_the_middle_of_a_restart_and_hears_of_the_fault_again() {
    let mut world = World::booted();
    world.ends(SUPERVISOR, Outcome::Fault(Reason::Hang));
    world.on(SUPERVISOR, &[]);
    world.on(SUPERVISOR, &[Effect::Supervise(Supervise::Restart(CPUID))]);
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.pass(), Turn::Enter);
    let told: Vec<_> = world.got(SUPERVISOR);
    assert!(matches!(message(&told[0]).body, Body::ServerFaulted(_)));
    assert!(matches!(
        message(&told[1]).body,
        Body::Restarted(Reason::Hang, _)
    ));
    assert!(
        matches!(message(&told[2]).body, Body::ServerFaulted(report) if report.server == CPUID)
    );
    assert_eq!(told.len(), 3);
    assert_eq!(world.kernel.state.servers[ServerId::nth(2)].generation, 2);
}

#[test]
fn killing_it_keeps_what_it_did_in_the_same_answer() {
    let mut world = World::booted();
    world.on(
        SUPERVISOR,
        &[
            Effect::Supervise(Supervise::Kill(SUPERVISOR)),
            Effect::Save(0, 1),
        ],
    );
    world.ends(CPUID, Outcome::Fault(Reason::Hang));
    world.exit(Exit::Cpuid(0));
    world.pass();
    let generation = world.kernel.state.servers[ServerId::SUPERVISOR].generation;
    assert_eq!(generation, 2);
    assert!(
        world
            .kernel
            .state
            .machine
            .journal
            .contains(&crate::machine::Act::Vault(SUPERVISOR, 0, 1))
    );
    let faults = world
        .got(SUPERVISOR)
        .iter()
        .filter(|bytes| matches!(message(bytes).body, Body::ServerFaulted(_)))
        .count();
    assert_eq!(faults, 1, "it had handled the message");
}

#[test]
fn if_no_restart_gets_it_past_a_message_the_host_ends() {
    let mut world = World::booted();
    for _ in 0..20 {
        world.ends(SUPERVISOR, Outcome::Fault(Reason::Hang));
    }
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.pass(), Turn::Leave(20));
}

#[test]
fn faults_now_and_then_do_not_add_up() {
    let mut world = World::booted();
    for _ in 0..50 {
        world.ends(SUPERVISOR, Outcome::Fault(Reason::Hang));
        assert_eq!(order(&mut world, &[]), Turn::Enter);
        assert_eq!(order(&mut world, &[]), Turn::Enter);
    }
}
