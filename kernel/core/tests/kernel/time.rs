//! Time: deadlines, run-time budgets, timers, and the books about where it went.

use atoll_core::run::{HostEvent, Turn};
use atoll_core::statistics::{KINDS, Kind};
use atoll_core::vcpu::vmcb::exit;
use atoll_protocol::effect::Effect;
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::units::{HostIrq, ServerId, Ticks, TimerId};

use crate::cast::{CLOCK, COM1, CONSOLE, CPUID, LIMITS, TIMER};
use crate::exits::Exit;
use crate::machine::TSC_KHZ;
use crate::restart::restart;
use crate::script::{LEAF, Line, encode};
use crate::world::World;

/// The timer server arms its first timer for `at`, while it handles a port write.
fn arm(world: &mut World, timer: u8, at: u64) {
    world.on(
        TIMER,
        &[
            Effect::Arm(TimerId::nth(timer), Fixed(Ticks(at))),
            Effect::Done,
        ],
    );
    world.exit(Exit::Out(0x40, 1, 0));
}

/// How often the timer server was told of a timer.
fn fired(world: &mut World) -> Vec<u8> {
    world.pass();
    let told = |bytes: &Vec<u8>| match crate::script::message(bytes).body {
        Body::Timer(timer) => Some(timer.number()),
        _ => None,
    };
    world.got(TIMER).iter().filter_map(told).collect()
}

#[test]
fn an_activation_has_its_budget_from_the_moment_of_its_message() {
    let mut world = World::booted();
    let now = world.kernel.state.machine.clock;
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        world.kernel.state.machine.deadline,
        Ticks(now + u64::from(LIMITS.budget_us) * TSC_KHZ / 1000)
    );
}

#[test]
fn time_that_the_host_took_from_a_server_is_not_held_against_it() {
    let mut world = World::booted();
    for _ in 0..40 {
        world.servers().on(
            CLOCK,
            Line::Late(
                u64::from(LIMITS.period_us),
                encode(&[Effect::Value(Fixed(0))]),
            ),
        );
        world.exit(Exit::In(0x71, 1));
    }
    world.assert_no_fault();
}

#[test]
fn whoever_uses_up_its_run_time_is_faulted_after_its_answer() {
    let mut world = World::booted();
    let answer = encode(&[Effect::Leaf(Fixed(LEAF))]);
    // Its start has taken one tick, as every activation does beside what it is late.
    for used in [1 + LIMITS.period_us / 2, LIMITS.period_us / 2] {
        world
            .servers()
            .on(CPUID, Line::Late(u64::from(used) - 2, answer.clone()));
        world.exit(Exit::Cpuid(0));
        world.assert_no_fault();
    }
    world.servers().on(CPUID, Line::Late(1, answer));
    world.exit(Exit::Cpuid(0));
    world.assert_fault(CPUID, Reason::Overrun);
}

#[test]
fn who_may_use_all_of_its_periods_is_never_faulted_for_it() {
    let mut world = World::booted();
    // One after the other, and over the end of each period.
    for _ in 0..40 {
        world.servers().on(
            TIMER,
            Line::Late(u64::from(LIMITS.budget_us) - 1, encode(&[Effect::Done])),
        );
        world.exit(Exit::Out(0x40, 1, 0));
    }
    world.assert_no_fault();
}

#[test]
fn where_the_host_steals_time_run_time_is_judged_over_many_periods() {
    let mut world = World::booted();
    world.kernel.state.machine.exact = false;
    let answer = encode(&[Effect::Leaf(Fixed(LEAF))]);
    // The host takes 40 ms away from one activation in ten, of which each is 1 ms, in 10 ms: half of the time, which it may use.
    for round in 0..2_000 {
        let stolen = if round % 10 == 0 { 40_000 } else { 0 };
        world
            .servers()
            .on(CPUID, Line::Late(1000 + stolen, answer.clone()));
        world.exit(Exit::Cpuid(0));
        world.kernel.state.machine.clock += 9_000;
    }
    world.assert_no_fault();
    // Whoever really uses more is found out.
    for _ in 0..400 {
        world
            .servers()
            .on(CPUID, Line::Late(50_000, answer.clone()));
        world.exit(Exit::Cpuid(0));
    }
    world.assert_fault(CPUID, Reason::Overrun);
}

#[test]
fn a_new_period_brings_new_run_time() {
    let mut world = World::booted();
    let answer = encode(&[Effect::Leaf(Fixed(LEAF))]);
    for _ in 0..10 {
        world.kernel.state.machine.clock += 100 * TSC_KHZ;
        world.servers().on(
            CPUID,
            Line::Late(u64::from(LIMITS.period_us) - 1, answer.clone()),
        );
        world.exit(Exit::Cpuid(0));
    }
    world.assert_no_fault();
}

#[test]
fn a_timer_fires_once_and_not_before_its_time() {
    let mut world = World::booted();
    // What was armed while it booted.
    world.until(world.kernel.state.machine.armed.0);
    let at = world.kernel.state.machine.clock + 500;
    arm(&mut world, 1, at);
    assert_eq!(world.kernel.state.machine.armed, Ticks(at));
    world.until(at - 1);
    assert_eq!(fired(&mut world), []);
    world.until(at);
    assert_eq!(fired(&mut world), [1]);
    world.until(at + 10_000);
    assert_eq!(fired(&mut world), [1]);
}

#[test]
fn a_timer_that_is_armed_again_fires_at_its_new_time_only() {
    let mut world = World::booted();
    let now = world.kernel.state.machine.clock;
    arm(&mut world, 0, now + 500);
    arm(&mut world, 0, now + 900);
    world.until(now + 600);
    assert_eq!(fired(&mut world), []);
    world.until(now + 900);
    assert_eq!(fired(&mut world), [0]);
}

#[test]
fn a_timer_that_is_disarmed_after_it_has_expired_is_not_told() {
    let mut world = World::booted();
    let at = world.kernel.state.machine.clock + 500;
    arm(&mut world, 0, at);
    world.until(at);
    world.on(TIMER, &[Effect::Disarm(TimerId::nth(0)), Effect::Done]);
    world.exit(Exit::Out(0x40, 1, 0));
    assert_eq!(fired(&mut world), []);
}

#[test]
fn timers_of_one_moment_are_all_told() {
    let mut world = World::booted();
    let at = world.kernel.state.machine.clock + 500;
    arm(&mut world, 1, at);
    arm(&mut world, 0, at);
    world.until(at);
    assert_eq!(fired(&mut world), [0, 1]);
}

#[test]
fn a_fault_does_not_disarm_what_was_committed_before() {
    let mut world = World::booted();
    let at = world.kernel.state.machine.clock + 500;
    arm(&mut world, 0, at);
    world.on(TIMER, &[]);
    world.exit(Exit::Out(0x40, 1, 0));
    world.assert_fault(TIMER, Reason::TicketOpen);
    assert_eq!(
        world.observe().timers,
        [(TIMER, TimerId::nth(0), Ticks(at))]
    );
}

#[test]
fn the_sums_of_all_kinds_equal_the_time_since_the_first_entry() {
    let mut world = World::booted();
    let exits = [
        Exit::Cpuid(0),
        Exit::In(COM1, 1),
        Exit::In(0x1234, 1),
        Exit::Fault(0x5000),
        Exit::ReadMsr(0x1b),
        Exit::Hypercall(1),
        Exit::Code(exit::INTR),
        Exit::Code(exit::VINTR),
        Exit::Code(0x8d),
        Exit::Halt,
    ];
    for round in 0..1000 {
        world.kernel.state.machine.clock += round * 37 % 101;
        world.exit(exits[round as usize % exits.len()]);
        world.kernel.state.machine.clock += round * 17 % 13;
        world.pass();
    }
    let statistics = &world.kernel.state.statistics;
    let sum: u64 = (0..KINDS)
        .filter_map(|kind| statistics.kind(kind))
        .map(|moments| moments.sum)
        .sum();
    assert_eq!(sum, statistics.elapsed());
    assert!(statistics.elapsed() > 10_000);
    for kind in [
        "guest",
        "idle",
        "cpuid",
        "in",
        "map",
        "rdmsr",
        "vmmcall",
        "interrupt",
        "window",
        "instruction",
        "hlt",
    ] {
        let index = (0..KINDS)
            .find(|index| atoll_core::statistics::Kind::name(*index) == kind)
            .expect("a kind");
        assert!(
            statistics
                .kind(index)
                .is_some_and(|moments| moments.count >= 90),
            "{kind}"
        );
    }
}

/// How often, and how long, the time counted as this kind.
fn counted(world: &World, kind: Kind) -> (u64, u64) {
    world
        .kernel
        .state
        .statistics
        .kind(kind as usize)
        .map_or((0, 0), |moments| (moments.count, moments.sum))
}

#[test]
fn the_time_that_the_guest_waits_for_a_faulted_server_counts_as_recovery() {
    let mut world = World::booted();
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(7));
    let fell = world.kernel.state.machine.clock;
    assert_eq!(world.pass(), Turn::Idle, "the guest is held");
    world.kernel.state.machine.clock += 1000;
    // A second fault meanwhile is the same wait.
    world.on(CONSOLE, &[Effect::Done]);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    assert_eq!(world.pass(), Turn::Idle);
    restart(&mut world, CPUID);
    assert_eq!(restart(&mut world, CONSOLE), Turn::Enter);
    let waited = world.kernel.state.machine.clock - fell;
    assert_eq!(counted(&world, Kind::Recovery), (1, waited));
}

#[test]
fn a_servers_time_is_the_time_of_its_activations() {
    let mut world = World::booted();
    let before = world.kernel.state.servers[ServerId::nth(2)].generation;
    for ticks in [5, 10, 30] {
        world.servers().on(
            CPUID,
            Line::Late(ticks, encode(&[Effect::Leaf(Fixed(LEAF))])),
        );
        world.exit(Exit::Cpuid(0));
    }
    world.on(
        crate::cast::CONTROL,
        &[Effect::Query(atoll_protocol::effect::Query::Server(CPUID))],
    );
    world.kernel.host_event(atoll_core::run::HostEvent::Irq(
        atoll_protocol::units::HostIrq::nth(3),
    ));
    world.pass();
    world.last(crate::cast::CONTROL, |message| {
        let Body::Record(bytes) = message.body else {
            panic!("no record")
        };
        let record: atoll_protocol::control::ServerRecord<'_> =
            postcard::from_bytes(bytes).expect("a server's record");
        // Its start was an activation as well; each costs one tick of its own.
        assert_eq!(
            (record.name, record.generation, record.time.count),
            ("cpuid", before, 4)
        );
        assert_eq!((record.image, record.restarts), ("original", 0));
        assert_eq!(
            (record.time.min, record.time.max, record.time.sum),
            (1, 31, 1 + 6 + 11 + 31)
        );
    });
}
