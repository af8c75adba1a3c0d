//! Before a successor is in its place it can do nothing to the machine; and it gets there only when it has begun with the state, and by the
//! word that says so.

use atoll_core::machine::Outcome;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::server::Standing;
use atoll_protocol::effect::{
    Effect, Fifo, Forward, GuestCas, GuestCopy, Mapping, Offer, Query, Signal, Supervise, Terms,
};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Route};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::{Body, Leaf, Stop};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, HostIrq, LineId, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{Exception, SystemRegister};

use crate::cast::{
    CONSOLE, CONTROL, CPUID, FREE, IRQCHIP, LIMITS, MMU, MSR, POWER, SERIAL, SUPERVISOR, TEXT,
    TIMER,
};
use crate::exits::Exit;
use crate::restart::order;
use crate::script::{ENTRY, message};
use crate::swap::{exchange, succession};
use crate::world::World;

/// Longer than a succession may take, in the machine's ticks.
const TOO_LONG: u64 = 500_001;

/// Every kind of effect, with a role whose servers may have it. One that is new does not compile without a line here.
fn every_effect() -> Vec<(ServerId, Effect<'static>)> {
    let fifo = Fifo {
        status: 0x3fd,
        mask: 1,
        data: 0x3f8,
        burst: 1,
    };
    let mapping = Mapping {
        gpa: Gpa(0),
        size: Mapping::LARGE,
        access: 3,
    };
    let all = vec![
        (CPUID, Effect::Save(0, 1)),
        (CPUID, Effect::Log("a word")),
        (CPUID, Effect::Leaf(Fixed(Leaf::default()))),
        (SERIAL, Effect::Value(Fixed(1))),
        (SERIAL, Effect::Done),
        (SERIAL, Effect::Data(b"x")),
        (
            MSR,
            Effect::Exception(Fixed(Exception {
                vector: 13,
                has_error: 1,
                ..Exception::default()
            })),
        ),
        (MMU, Effect::Resume),
        (
            MMU,
            Effect::Forward(
                Fixed(Forward {
                    count: 1,
                    size: 4,
                    width: 4,
                    ..Forward::default()
                }),
                b"",
            ),
        ),
        (MMU, Effect::NeedRegisters),
        (CONTROL, Effect::Defer(Fixed(Ticks(1)))),
        (CONTROL, Effect::Reply(TicketId(2), b"x")),
        (MMU, Effect::Register(0, Fixed(1))),
        (MMU, Effect::System(SystemRegister::Cr0, Fixed(1))),
        (
            IRQCHIP,
            Effect::System(SystemRegister::TaskPriority, Fixed(1)),
        ),
        (MSR, Effect::System(SystemRegister::Tsc, Fixed(1))),
        (CPUID, Effect::Initial(0, b"")),
        (
            IRQCHIP,
            Effect::Offer(Fixed(Offer {
                vector: 0x30,
                kind: Offer::FIXED,
                ..Offer::default()
            })),
        ),
        (MMU, Effect::GuestWrite(Fixed(Gpa(0)), b"x")),
        (
            MMU,
            Effect::GuestCas(Fixed(GuestCas {
                size: 8,
                ..GuestCas::default()
            })),
        ),
        (
            MMU,
            Effect::GuestCopy(Fixed(GuestCopy {
                length: 1,
                ..GuestCopy::default()
            })),
        ),
        (MMU, Effect::Map(Fixed(mapping))),
        (MMU, Effect::Unmap(Fixed(mapping))),
        (SERIAL, Effect::Line(LineId::nth(4), Signal::Raise)),
        (TIMER, Effect::Arm(TimerId::nth(0), Fixed(Ticks(1)))),
        (TIMER, Effect::Disarm(TimerId::nth(0))),
        (CONSOLE, Effect::PortOut(0x3f8, 1, 1)),
        (CONSOLE, Effect::PortIn(0x3f8, 1)),
        (CONSOLE, Effect::Fill(fifo, b"x")),
        (CONSOLE, Effect::Drain(fifo, 1)),
        (SERIAL, Effect::Mail(CONSOLE, b"x")),
        (CONTROL, Effect::Request(SUPERVISOR, 1, b"x")),
        (CONTROL, Effect::Query(Query::Machine)),
        (POWER, Effect::Stop(Stop::PowerOff)),
        (CPUID, Effect::Supervise(Supervise::Run)),
        (CPUID, Effect::Exported(b"x")),
    ];
    for (_, effect) in &all {
        match effect {
            Effect::Save(..)
            | Effect::Log(_)
            | Effect::Leaf(_)
            | Effect::Value(_)
            | Effect::Done
            | Effect::Data(_) => {}
            Effect::Exception(_)
            | Effect::Resume
            | Effect::Forward(..)
            | Effect::NeedRegisters
            | Effect::Defer(_) => {}
            Effect::Reply(..)
            | Effect::Register(..)
            | Effect::System(..)
            | Effect::Initial(..)
            | Effect::Offer(_) => {}
            Effect::GuestWrite(..)
            | Effect::GuestCas(_)
            | Effect::GuestCopy(_)
            | Effect::Map(_)
            | Effect::Unmap(_) => {}
            Effect::Line(..)
            | Effect::Arm(..)
            | Effect::Disarm(_)
            | Effect::PortOut(..)
            | Effect::PortIn(..) => {}
            Effect::Fill(..)
            | Effect::Drain(..)
            | Effect::Mail(..)
            | Effect::Request(..)
            | Effect::Query(_) => {}
            Effect::Stop(_) | Effect::Supervise(_) | Effect::Exported(_) => {}
        }
    }
    all
}

#[test]
fn a_successor_saves_and_logs_and_does_nothing_else_whatever_its_role_and_rights() {
    for (of, effect) in every_effect() {
        let mut world = World::booted();
        let (role, of_grants) = (world.kernel.state.servers[of].role, Grant::GuestWrite);
        world.on(of, &[Effect::Exported(b"state")]);
        world.on(FREE, &[effect]);
        let [create, segment, succeed] = succession(of, role);
        let rights = [
            Grant::HostPorts(0x3f8, 0x3ff),
            Grant::Line(LineId::nth(4)),
            Grant::Mail(CONSOLE, 1),
            of_grants,
        ];
        let rights = rights.map(|right| Supervise::Grant(FREE, right));
        let answer = [
            &[create, segment][..],
            &rights,
            &[Supervise::Grant(FREE, Grant::Bundle), succeed],
        ]
        .concat();
        let (registers, offered) = (
            world.kernel.state.vcpu.general,
            world.kernel.state.vcpu.events,
        );
        order(&mut world, &answer);
        let allowed = matches!(effect, Effect::Save(..) | Effect::Log(_));
        let fault = world.fault(FREE).map(|report| report.reason);
        assert_eq!(
            fault,
            if allowed {
                None
            } else {
                Some(Reason::NotInPlace)
            },
            "{effect:?}"
        );
        assert_eq!(
            (
                world.kernel.state.vcpu.general,
                world.kernel.state.vcpu.events
            ),
            (registers, offered),
            "{effect:?}"
        );
        let done = world
            .kernel
            .state
            .machine
            .journal
            .iter()
            .skip_while(|act| !matches!(act, crate::machine::Act::Entry(FREE, _)));
        assert_eq!(
            done.count(),
            if matches!(effect, Effect::Save(..)) {
                2
            } else {
                1
            },
            "{effect:?}"
        );
        assert!(
            world
                .kernel
                .state
                .timers
                .armed()
                .all(|(server, ..)| server != FREE)
        );
    }
}

#[test]
fn also_where_it_says_what_is_usual_for_a_server_in_its_place() {
    let offer = Offer {
        vector: 0x30,
        kind: Offer::FIXED,
        ..Offer::default()
    };
    let answers = [
        (
            IRQCHIP,
            vec![Effect::Offer(Fixed(offer)), Effect::Save(0, 1)],
        ),
        (TIMER, vec![Effect::Arm(TimerId::nth(0), Fixed(Ticks(5)))]),
        (
            SERIAL,
            vec![
                Effect::Save(0, 1),
                Effect::Arm(TimerId::nth(1), Fixed(Ticks(5))),
                Effect::Save(1, 1),
            ],
        ),
    ];
    for (of, answer) in answers {
        let mut world = World::booted();
        let role = world.kernel.state.servers[of].role;
        world.on(of, &[Effect::Exported(b"state")]);
        world.on(FREE, &answer);
        order(&mut world, &succession(of, role));
        world.assert_fault(FREE, Reason::NotInPlace);
    }
}

#[test]
fn once_in_its_place_it_does_what_its_role_does() {
    let mut world = World::booted();
    world.on(IRQCHIP, &[Effect::Exported(b"state")]);
    order(&mut world, &succession(IRQCHIP, RoleKind::Irqchip));
    let offer = Offer {
        vector: 0x30,
        kind: Offer::FIXED,
        ..Offer::default()
    };
    world.on(IRQCHIP, &[Effect::Offer(Fixed(offer))]);
    assert_eq!(exchange(&mut world, IRQCHIP), Turn::Enter);
    world.assert_no_fault();
}

/// A second control server, in a slot behind that of its successor: it has its turn after that.
const LATER: ServerId = ServerId::nth(FREE.number() + 1);

#[test]
fn a_successor_whose_import_is_not_committed_is_not_exchanged() {
    let mut world = World::booted();
    let making = [
        Supervise::Create(LATER, RoleKind::Control, LIMITS, "later", "image"),
        Supervise::Segment(LATER, Fixed(TEXT)),
        Supervise::Grant(LATER, Grant::Mail(SUPERVISOR, 1)),
        Supervise::Start(LATER, Fixed(IMAGE), b""),
    ];
    order(&mut world, &making);
    // With its state it sends the supervisor something, which has its turn ahead of the successor and is too early.
    world.on(
        LATER,
        &[Effect::Mail(SUPERVISOR, b"now"), Effect::Exported(b"state")],
    );
    let effects: Vec<Effect<'_>> = succession(LATER, RoleKind::Control)
        .map(Effect::Supervise)
        .to_vec();
    world.on(SUPERVISOR, &effects);
    for _ in 0..3 {
        world.on(
            SUPERVISOR,
            &[Effect::Supervise(Supervise::Exchange(FREE, LATER, 1))],
        );
        world.on(SUPERVISOR, &[]);
    }
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    let tried = world.got(SUPERVISOR);
    assert!(
        tried
            .iter()
            .any(|bytes| matches!(message(bytes).body, Body::Mail(..)))
    );
    let log = world.servers().log.join("\n");
    assert!(log.contains("broke a rule: BadValue (effect 0)"), "{log}");
}

#[test]
fn an_exchange_names_the_generation_that_has_started() {
    for (generation, taken) in [(0, false), (2, false), (u32::MAX, false), (1, true)] {
        let mut world = World::booted();
        world.on(CPUID, &[Effect::Exported(b"state")]);
        order(&mut world, &succession(CPUID, RoleKind::Cpuid));
        world.last(SUPERVISOR, |message| {
            assert_eq!(message.body, Body::ServerStarted(FREE, 1))
        });
        order(&mut world, &[Supervise::Exchange(FREE, CPUID, generation)]);
        assert_eq!(
            world.kernel.state.servers[ServerId::nth(2)].image.text() == "successor",
            taken,
            "{generation}"
        );
    }
}

/// The kinds of the messages that the supervisor got about the slot of successors.
fn told_of_start(world: &mut World) -> Vec<u32> {
    let told = world.got(SUPERVISOR);
    let started = |bytes: &Vec<u8>| match message(bytes).body {
        Body::ServerStarted(FREE, generation) => Some(generation),
        _ => None,
    };
    told.iter().filter_map(started).collect()
}

#[test]
fn the_word_that_a_destroyed_successor_has_started_is_not_taken_for_the_next_ones() {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"state")]);
    // The supervisor hears of an order before it hears of the successor, and begins anew.
    world.on(CONTROL, &[Effect::Mail(SUPERVISOR, b"think again")]);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(3)));
    world.on(
        SUPERVISOR,
        &succession(CPUID, RoleKind::Cpuid).map(Effect::Supervise),
    );
    world.on(SUPERVISOR, &[Effect::Supervise(Supervise::Destroy(FREE))]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    assert_eq!(told_of_start(&mut world), [], "it has started, and is gone");
    // The next one fails: there is nothing to be told of it either.
    world.on(CPUID, &[Effect::Exported(b"state")]);
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    assert_eq!(told_of_start(&mut world), []);
    order(&mut world, &[Supervise::Destroy(FREE)]);
    world.on(CPUID, &[Effect::Exported(b"state")]);
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    assert_eq!(told_of_start(&mut world), [3]);
    assert_eq!(exchange(&mut world, CPUID), Turn::Enter);
}

#[test]
fn a_successor_that_is_called_off_gets_no_message_and_can_only_be_destroyed() {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"state")]);
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    world.until(world.kernel.state.machine.clock + TOO_LONG);
    world.pass();
    let standing = world.kernel.state.servers[FREE].standing;
    assert_eq!(standing, Standing::Made);
    let before = world.got(FREE).len();
    order(&mut world, &[Supervise::Kill(FREE)]);
    assert_eq!(world.got(FREE).len(), before);
    assert_eq!(order(&mut world, &[Supervise::Destroy(FREE)]), Turn::Enter);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn a_release_that_was_not_heard_of_does_not_end_the_next_succession() {
    let mut world = World::booted();
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    // Its time is over; but the supervisor hears of something else first, and has another try.
    world.until(world.kernel.state.machine.clock + TOO_LONG);
    world.on(CPUID, &[Effect::Exported(b"state")]);
    let next = [
        Supervise::Create(LATER, RoleKind::Cpuid, LIMITS, "next", "another"),
        Supervise::Segment(LATER, Fixed(TEXT)),
        Supervise::Succeed(LATER, CPUID, Fixed(IMAGE), Terms::Force, b"how"),
    ];
    assert_eq!(order(&mut world, &next), Turn::Idle);
    let told = world.got(SUPERVISOR);
    assert!(
        !told
            .iter()
            .any(|bytes| matches!(message(bytes).body, Body::Released(_)))
    );
    assert_eq!(
        order(&mut world, &[Supervise::Exchange(LATER, CPUID, 1)]),
        Turn::Enter
    );
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(2)].image.text(),
        "another"
    );
}

#[test]
fn a_successor_is_neither_restarted_nor_given_exits() {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"state")]);
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    order(&mut world, &[Supervise::Restart(FREE)]);
    assert_eq!(world.kernel.state.servers[FREE].standing, Standing::Faulted);
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Exported(b"state")]);
    order(&mut world, &succession(CPUID, RoleKind::Cpuid));
    order(
        &mut world,
        &[Supervise::Route(FREE, Route::Ports(0x100, 0x107))],
    );
    assert!(
        world
            .servers()
            .log
            .iter()
            .any(|line| line.contains("broke a rule: BadValue"))
    );
    let terms = Supervise::Succeed(FREE, SERIAL, Fixed(IMAGE), Terms::Force, b"");
    order(&mut world, &[terms]);
    assert_eq!(
        world
            .servers()
            .log
            .iter()
            .filter(|line| line.contains("broke a rule: BadValue"))
            .count(),
        2,
        "nor another's successor"
    );
}
