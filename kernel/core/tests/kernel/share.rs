//! The guest's share of the time, whatever servers' timers do.

use atoll_core::run::{HostEvent, Turn};
use atoll_core::share::{AHEAD_MS, PARTS};
use atoll_core::statistics::Kind;
use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::units::{HostIrq, ServerId, Ticks, TimerId};

use crate::cast::{CLOCK, CONSOLE, POWER, TIMER};
use crate::exits::Exit;
use crate::machine::TSC_KHZ;
use crate::script::{Line, encode};
use crate::world::World;

/// The answer of a server that wants to be activated again at once, and takes `ticks` for it.
fn at_once(ticks: u64) -> Line {
    Line::Late(
        ticks,
        encode(&[Effect::Arm(TimerId::nth(0), Fixed(Ticks(1)))]),
    )
}

/// The guest runs on until it is interrupted, or has run for a millisecond: how long servers and guest have had by the end of so many turns.
fn play(world: &mut World, turns: usize) -> (u64, u64) {
    let guest = |world: &World| {
        world
            .kernel
            .state
            .statistics
            .kind(Kind::Guest as usize)
            .map_or(0, |time| time.sum)
    };
    let (began, ran) = (world.kernel.state.machine.clock, guest(world));
    for _ in 0..turns {
        if world.kernel.state.machine.armed.0 <= world.kernel.state.machine.clock {
            world.kernel.host_event(HostEvent::Timer);
        }
        assert_eq!(world.pass(), Turn::Enter);
        let machine = &mut world.kernel.state.machine;
        machine.clock = machine
            .armed
            .0
            .clamp(machine.clock, machine.clock + TSC_KHZ);
        world.exit(Exit::Code(exit::INTR));
    }
    world.assert_no_fault();
    (world.kernel.state.machine.clock - began, guest(world) - ran)
}

/// These servers are activated at once again and again, each for so many ticks.
fn greedy(servers: &[ServerId], ticks: u64) -> World {
    let mut world = World::booted();
    for server in servers {
        (0..10_000).for_each(|_| world.servers().on(*server, at_once(ticks)));
        world.kernel.state.restart(*server);
    }
    world
}

#[track_caller]
fn assert_share(mut world: World) {
    let (all, guest) = play(&mut world, 5_000);
    assert!(all > 1_000 * TSC_KHZ, "{all} ticks are no test");
    let least = all.saturating_sub((AHEAD_MS + 60) * TSC_KHZ) / PARTS;
    assert!(
        guest >= least,
        "the guest had {guest} of {all} ticks, not {least}"
    );
    // Nor does it get so much more that servers could starve.
    assert!(guest <= all / 2, "the guest had {guest} of {all} ticks");
}

#[test]
fn a_server_that_is_always_activated_again_leaves_the_guest_its_share() {
    assert_share(greedy(&[TIMER], 50_000));
}

#[test]
fn so_do_two_of_them_and_all_three() {
    assert_share(greedy(&[TIMER, POWER], 50_000));
    assert_share(greedy(&[TIMER, POWER, CLOCK], 900));
}

#[test]
fn so_do_servers_whose_activations_are_short() {
    assert_share(greedy(&[TIMER, POWER], 2_000));
}

#[test]
fn who_uses_little_is_served_at_once() {
    let mut world = greedy(&[CONSOLE], 100);
    // A tenth of the time.
    for _ in 0..1_000 {
        world.kernel.state.machine.clock += 900;
        world.exit(Exit::Code(exit::INTR));
        let before = world.got(CONSOLE).len();
        world.kernel.host_event(HostEvent::Timer);
        assert_eq!(world.pass(), Turn::Enter);
        assert_eq!(world.got(CONSOLE).len(), before + 1);
    }
    world.assert_no_fault();
}

#[test]
fn what_is_used_while_the_guest_sleeps_is_not_held_against_servers() {
    let mut world = greedy(&[TIMER], 50_000);
    world.exit(Exit::Halt);
    for _ in 0..20 {
        world.kernel.host_event(HostEvent::Timer);
        while world.kernel.pass() == Turn::Again {}
    }
    assert!(
        world.got(TIMER).len() >= 20,
        "nobody is kept waiting for a guest that sleeps"
    );
}

#[test]
fn in_the_guests_turn_only_those_wait_who_have_used_much() {
    let mut world = greedy(&[TIMER], 50_000);
    assert_eq!(world.pass(), Turn::Enter);
    world.kernel.host_event(HostEvent::Timer);
    assert_eq!(world.pass(), Turn::Enter);
    let (greedy, honest) = (world.got(TIMER).len(), world.got(CONSOLE).len());
    // It is due again, and so is another.
    world.kernel.host_event(HostEvent::Timer);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    assert_eq!(world.pass(), Turn::Enter);
    assert_eq!(
        (world.got(TIMER).len(), world.got(CONSOLE).len()),
        (greedy, honest + 1)
    );
    // When the guest has run, its turn is over.
    world.kernel.state.machine.clock += 20_000;
    assert_eq!(world.pass(), Turn::Enter);
    assert_eq!(world.got(TIMER).len(), greedy + 1);
}
