//! One server takes another's place: all of it, or nothing.

use atoll_core::machine::Outcome;
use atoll_core::run::Turn;
use atoll_core::server::Standing;
use atoll_core::statistics::Kind;
use atoll_core::ticket::Operation;
use atoll_protocol::effect::{Effect, Forward, Supervise, Terms};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::Body;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::ServerId;

use crate::cast::{CPUID, FREE, IRQCHIP, LAPIC, LIMITS, MMU, SERIAL, SUPERVISOR, TEXT};
use crate::exits::Exit;
use crate::machine::Act;
use crate::restart::{order, restart};
use crate::script::{ENTRY, LEAF, message};
use crate::world::World;

/// The longest that a succession takes, in the machine's ticks, and one more.
const TOO_LONG: u64 = 500_001;

/// The effects that begin a succession.
pub(crate) fn succession(of: ServerId, role: RoleKind) -> [Supervise<'static>; 3] {
    [
        Supervise::Create(FREE, role, LIMITS, "next", "successor"),
        Supervise::Segment(FREE, Fixed(TEXT)),
        Supervise::Succeed(FREE, of, Fixed(IMAGE), Terms::Force, b"how"),
    ]
}

/// The successor takes this server's place.
pub(crate) fn exchange(world: &mut World, of: ServerId) -> Turn {
    let generation = world.kernel.state.servers[FREE].generation;
    order(
        world,
        &[
            Supervise::Exchange(FREE, of, generation),
            Supervise::Destroy(FREE),
        ],
    )
}

/// A succession of the cpuid server is under way: its state is exported, the successor has begun.
fn under_way() -> World {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"the state")]);
    world.on(FREE, &[Effect::Save(1, 1)]);
    assert_eq!(
        order(&mut world, &succession(CPUID, RoleKind::Cpuid)),
        Turn::Idle,
        "the guest waits"
    );
    world
}

/// The cpuid server goes on, as if nothing had been.
fn assert_rolled_back(world: &mut World) {
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(2)].standing,
        Standing::Running
    );
    assert_eq!(world.pass(), Turn::Enter);
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        (world.rip(), world.register(0)),
        (ENTRY + 2, u64::from(LEAF.eax))
    );
    assert!(
        !world
            .kernel
            .state
            .machine
            .journal
            .iter()
            .any(|act| matches!(act, Act::Exchange(..)))
    );
    // And another may be tried.
    if world.kernel.state.servers[FREE].standing != Standing::Empty {
        order(world, &[Supervise::Destroy(FREE)]);
    }
    world.on(CPUID, &[Effect::Exported(b"again")]);
    order(world, &succession(CPUID, RoleKind::Cpuid));
    assert_eq!(exchange(world, CPUID), Turn::Enter);
}

#[test]
fn the_time_that_the_guest_waits_for_a_successor_is_counted() {
    let mut world = under_way();
    let began = world.kernel.state.machine.clock;
    world.kernel.state.machine.clock += 1000;
    assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
    let waited = world.kernel.state.machine.clock - began;
    let counted = world
        .kernel
        .state
        .statistics
        .kind(Kind::Succession as usize)
        .expect("a kind");
    assert_eq!(counted.count, 1);
    assert!(
        (waited..waited + 10).contains(&counted.sum),
        "{} of {waited}",
        counted.sum
    );
}

#[test]
fn the_state_crosses_and_the_memories_change_places() {
    let mut world = under_way();
    world.last(FREE, |message| {
        let Body::Import(_, config, state, force) = message.body else {
            panic!("no import")
        };
        assert_eq!(
            (config, state, force),
            (&b"how"[..], &b"the state"[..], true)
        );
    });
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::ServerStarted(FREE, 1))
    });
    let successor = world.observe().committed[FREE.index()].clone();
    let frames = world.kernel.state.machine.frames;
    assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
    assert_eq!(world.observe().committed[2], successor);
    assert_eq!(world.kernel.state.servers[FREE].standing, Standing::Empty);
    let role = &world.kernel.state.servers[ServerId::nth(2)];
    assert_eq!(
        (role.generation, role.restarts),
        (2, 0),
        "it has not been restarted"
    );
    assert_eq!(
        (role.name.text(), role.image.text()),
        ("cpuid", "successor")
    );
    assert!(
        world.kernel.state.machine.frames > frames,
        "the old one's are free"
    );
    world.last(CPUID, |message| {
        assert!(matches!(
            message.body,
            Body::Restarted(Reason::Exchanged, _)
        ))
    });
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn a_swap_is_not_counted_as_a_restart_and_those_before_are_not_forgotten() {
    let mut world = World::booted();
    for restarts in 1..4 {
        order(&mut world, &[Supervise::Kill(CPUID)]);
        restart(&mut world, CPUID);
        world.on(CPUID, &[Effect::Exported(b"the state")]);
        order(&mut world, &succession(CPUID, RoleKind::Cpuid));
        exchange(&mut world, CPUID);
        let role = &world.kernel.state.servers[ServerId::nth(2)];
        assert_eq!((role.image.text(), role.restarts), ("successor", restarts));
    }
}

#[test]
fn a_server_whose_successor_is_called_off_runs_its_own_image() {
    let mut world = under_way();
    order(&mut world, &[Supervise::Destroy(FREE)]);
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(2)].image.text(),
        "original"
    );
    assert_rolled_back(&mut world);
}

#[test]
fn what_arrives_meanwhile_is_the_successors() {
    let mut world = under_way();
    world.servers().seen.clear();
    world.kernel.state.vcpu.stand = atoll_core::vcpu::Stand::Runnable;
    world.exit(Exit::Cpuid(5));
    assert!(
        world.got(CPUID).is_empty() && world.rip() == ENTRY,
        "it is held"
    );
    order(&mut world, &[Supervise::Exchange(FREE, CPUID, 1)]);
    world.exit(Exit::Cpuid(5));
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn an_access_that_waited_for_the_old_server_is_the_new_ones() {
    let mut world = World::booted();
    let forward = Forward {
        address: LAPIC,
        count: 1,
        size: 4,
        finish: Forward::LOAD,
        register: 3,
        width: 4,
        ..Forward::default()
    };
    world.on(
        MMU,
        &[Effect::Forward(
            Fixed(Forward {
                rip_or_token: ENTRY + 2,
                ..forward
            }),
            &[],
        )],
    );
    world.on(IRQCHIP, &[]);
    world.exit(Exit::Fault(LAPIC));
    world.pass();
    assert_eq!(world.waiting(), [(Operation::MmioRead, IRQCHIP)]);
    // The old one is restarted only to say what it knows; the access is not for it any more.
    world.servers().seen.clear();
    world.on(IRQCHIP, &[]);
    world.on(IRQCHIP, &[Effect::Exported(b"state")]);
    order(
        &mut world,
        &[
            &[Supervise::Restart(IRQCHIP)][..],
            &succession(IRQCHIP, RoleKind::Irqchip),
        ]
        .concat(),
    );
    assert_eq!(
        (world.got(IRQCHIP).len(), world.waiting()),
        (2, vec![(Operation::MmioRead, IRQCHIP)])
    );
    assert_eq!(exchange(&mut world, IRQCHIP), Turn::Enter);
    world.last(IRQCHIP, |message| {
        assert!(matches!(message.body, Body::MmioRead(_)))
    });
    assert_eq!((world.rip(), world.waiting()), (ENTRY + 2, vec![]));
}

#[test]
fn an_access_that_waited_is_carried_on_also_if_the_succession_is_called_off() {
    let mut world = World::booted();
    let forward = Forward {
        address: LAPIC,
        count: 1,
        size: 4,
        finish: Forward::LOAD,
        register: 3,
        width: 4,
        ..Forward::default()
    };
    world.on(
        MMU,
        &[Effect::Forward(
            Fixed(Forward {
                rip_or_token: ENTRY + 2,
                ..forward
            }),
            &[],
        )],
    );
    world.on(IRQCHIP, &[]);
    world.exit(Exit::Fault(LAPIC));
    world.pass();
    // It exports nothing.
    order(
        &mut world,
        &[
            &[Supervise::Restart(IRQCHIP)][..],
            &succession(IRQCHIP, RoleKind::Irqchip),
        ]
        .concat(),
    );
    assert_eq!(world.waiting(), [(Operation::MmioRead, IRQCHIP)]);
    assert_eq!(order(&mut world, &[Supervise::Destroy(FREE)]), Turn::Enter);
    assert_eq!((world.rip(), world.waiting()), (ENTRY + 2, vec![]));
}

#[test]
fn a_successor_that_crashes_is_taken_away_and_the_old_server_goes_on() {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"the state")]);
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    world.on(
        SUPERVISOR,
        &succession(CPUID, RoleKind::Cpuid).map(Effect::Supervise),
    );
    world.on(SUPERVISOR, &[Effect::Supervise(Supervise::Destroy(FREE))]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    assert_rolled_back(&mut world);
}

#[test]
fn a_server_that_crashes_over_the_export_is_restarted_and_goes_on() {
    let mut world = World::booted();
    world.ends(CPUID, Outcome::Fault(Reason::Hang));
    world.on(
        SUPERVISOR,
        &succession(CPUID, RoleKind::Cpuid).map(Effect::Supervise),
    );
    world.on(
        SUPERVISOR,
        &[Supervise::Destroy(FREE), Supervise::Restart(CPUID)].map(Effect::Supervise),
    );
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    assert_rolled_back(&mut world);
}

#[test]
fn a_server_that_exports_nothing_goes_on_when_the_time_is_over() {
    let mut world = World::booted();
    assert_eq!(
        order(&mut world, &succession(CPUID, RoleKind::Cpuid)),
        Turn::Enter,
        "nothing is held yet"
    );
    world.until(world.kernel.state.machine.clock + TOO_LONG);
    world.pass();
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::Released(CPUID))
    });
    assert_rolled_back(&mut world);
}

#[test]
fn a_supervisor_that_does_not_finish_it_in_time_finds_it_rolled_back() {
    let mut world = under_way();
    world.until(world.kernel.state.machine.clock + TOO_LONG);
    world.pass();
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::Released(CPUID))
    });
    let generation = world.kernel.state.servers[ServerId::SUPERVISOR].generation;
    order(&mut world, &[Supervise::Exchange(FREE, CPUID, 1)]);
    assert_eq!(
        world.kernel.state.servers[ServerId::SUPERVISOR].generation,
        generation + 2,
        "too late: it is at fault"
    );
    assert_rolled_back(&mut world);
}

#[test]
fn a_host_that_steals_the_time_of_a_succession_does_not_end_it() {
    let mut world = World::booted();
    world.kernel.state.machine.exact = false;
    world.on(CPUID, &[Effect::Exported(b"the state")]);
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    for _ in 0..10 {
        world.until(world.kernel.state.machine.clock + TOO_LONG);
        world.pass();
    }
    assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
}

#[test]
fn a_succession_that_has_had_its_time_is_ended_on_such_a_host_too() {
    let mut world = World::booted();
    world.kernel.state.machine.exact = false;
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    let began = world.kernel.state.machine.clock;
    world.until(began + TOO_LONG);
    for _ in 0..10 {
        assert!(world.kernel.state.machine.armed.0 <= world.kernel.state.machine.clock + 20_000);
        world.until(world.kernel.state.machine.armed.0 + 300);
    }
    world.pass();
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::Released(CPUID))
    });
    assert_rolled_back(&mut world);
}

#[test]
fn the_supervisor_may_die_at_each_step() {
    for (begun, done) in [(true, false), (false, true), (true, true)] {
        let mut world = World::booted();
        world.on(CPUID, &[Effect::Exported(b"the state")]);
        if begun {
            // It had not begun, so it is not told of its restart.
            world.ends(SUPERVISOR, Outcome::Fault(Reason::Hang));
        }
        world.on(
            SUPERVISOR,
            &succession(CPUID, RoleKind::Cpuid).map(Effect::Supervise),
        );
        if done {
            world.ends(SUPERVISOR, Outcome::Fault(Reason::Hang));
            world.on(SUPERVISOR, &[]);
        }
        world.on(
            SUPERVISOR,
            &[
                Supervise::Exchange(FREE, CPUID, 1),
                Supervise::Destroy(FREE),
            ]
            .map(Effect::Supervise),
        );
        world.kernel.state.start_first(SUPERVISOR, IMAGE);
        for _ in 0..4 {
            world.pass();
        }
        let exchanged = world
            .kernel
            .state
            .machine
            .journal
            .contains(&Act::Exchange(FREE, CPUID));
        assert!(
            exchanged && world.kernel.state.servers[ServerId::nth(2)].is_running(),
            "{begun} {done}"
        );
    }
}

#[test]
fn a_succession_that_makes_no_sense_is_refused() {
    let faulty = |effects: &[Supervise<'_>]| {
        let mut world = World::booted();
        let generation = world.kernel.state.servers[ServerId::SUPERVISOR].generation;
        order(&mut world, effects);
        assert_eq!(
            world.kernel.state.servers[ServerId::SUPERVISOR].generation,
            generation + 2,
            "{effects:?} was not refused"
        );
    };
    faulty(&succession(SUPERVISOR, RoleKind::Cpuid));
    faulty(&succession(ServerId::nth(30), RoleKind::Cpuid));
    faulty(&[Supervise::Succeed(
        SERIAL,
        CPUID,
        Fixed(IMAGE),
        Terms::Gentle,
        b"",
    )]);
    faulty(&[Supervise::Exchange(SERIAL, CPUID, 1)]);
    let [create, segment, succeed] = succession(CPUID, RoleKind::Cpuid);
    faulty(&[create, segment, succeed, succeed]);
    faulty(&[
        create,
        segment,
        succeed,
        Supervise::Exchange(FREE, CPUID, 1),
    ]);
    faulty(&[
        create,
        segment,
        Supervise::Succeed(FREE, CPUID, Fixed(0), Terms::Gentle, b""),
    ]);
    let mut world = World::booted();
    world.on(
        SERIAL,
        &[Effect::Exported(b"nobody asked"), Effect::Value(Fixed(0))],
    );
    world.exit(Exit::In(0x3f8, 1));
    world.assert_fault(SERIAL, Reason::BadValue);
}

/// The cpuid server is faulted over a message of the guest's.
fn faulted() -> World {
    let mut world = World::booted();
    world.ends(CPUID, Outcome::Fault(Reason::Hang));
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(2)].standing,
        Standing::Faulted
    );
    world
}

/// A succession after its fault, in which it is not asked.
fn anew() -> [Supervise<'static>; 4] {
    let [create, segment, _] = succession(CPUID, RoleKind::Cpuid);
    let succeed = Supervise::Succeed(FREE, CPUID, Fixed(IMAGE), Terms::Reset, b"how");
    [Supervise::Restart(CPUID), create, segment, succeed]
}

#[test]
fn a_successor_that_begins_anew_gets_what_its_predecessor_failed_over_and_that_one_is_not_asked() {
    let mut world = faulted();
    world.servers().seen.clear();
    assert_eq!(order(&mut world, &anew()), Turn::Idle, "the guest waits");
    world.last(FREE, |message| {
        let Body::Import(_, config, state, force) = message.body else {
            panic!("no import")
        };
        assert_eq!((config, state, force), (&b"how"[..], &b""[..], false));
    });
    assert!(
        world.got(CPUID).is_empty(),
        "not even that it was restarted"
    );
    assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
    world.last(CPUID, |message| {
        assert!(matches!(
            message.body,
            Body::Restarted(Reason::Exchanged, _)
        ))
    });
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        (world.rip(), world.register(0)),
        (ENTRY + 2, u64::from(LEAF.eax))
    );
}

#[test]
fn a_successor_that_begins_anew_and_crashes_leaves_its_predecessor_restarted() {
    let mut world = faulted();
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    world.on(SUPERVISOR, &anew().map(Effect::Supervise));
    world.on(SUPERVISOR, &[Effect::Supervise(Supervise::Destroy(FREE))]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    world.last(CPUID, |message| {
        assert!(matches!(message.body, Body::Restarted(Reason::Released, _)))
    });
    assert_rolled_back(&mut world);
}

#[test]
fn a_thousand_successions_there_and_back_lose_nothing() {
    let mut world = World::booted();
    for _ in 0..1000 {
        world.on(SERIAL, &[Effect::Exported(b"state")]);
        order(&mut world, &succession(SERIAL, RoleKind::Serial));
        assert_eq!(exchange(&mut world, SERIAL), Turn::Enter);
        world.exit(Exit::In(0x3f8, 1));
        assert_eq!(world.rip(), ENTRY + 1);
        world.servers().seen.clear();
        world.kernel.state.machine.journal.clear();
    }
    assert_eq!(world.waiting(), []);
    let told = world.got(SERIAL);
    assert!(
        told.iter()
            .all(|bytes| !matches!(message(bytes).body, Body::Export))
    );
    restart_after(&mut world);
}

/// What took another's place is restarted from its own image.
fn restart_after(world: &mut World) {
    order(world, &[Supervise::Kill(SERIAL)]);
    world.kernel.state.machine.journal.clear();
    restart(world, SERIAL);
    assert!(
        world
            .kernel
            .state
            .machine
            .journal
            .contains(&Act::Restore(SERIAL))
    );
}
