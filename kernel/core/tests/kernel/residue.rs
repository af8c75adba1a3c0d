//! Whoever gets a slot finds nothing of who had it before: not in the pages that it can read, not in what it is sent, not in what is told
//! of it. A canary is put everywhere that a server leaves bytes, and looked for afterwards.

use atoll_core::machine::Outcome;
use atoll_core::run::HostEvent;
use atoll_protocol::control::ServerRecord;
use atoll_protocol::effect::{Effect, Query, Supervise, Terms};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::Grant;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::Body;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, ServerId, Ticks};

use crate::cast::{CONSOLE, CONTROL, FREE, IRQCHIP, LIMITS, SERIAL, SUPERVISOR, TEXT};
use crate::exits::Exit;
use crate::restart::order;
use crate::script::{READ, message};
use crate::swap::{exchange, succession};
use crate::world::World;

/// Another free slot.
const OTHER: ServerId = ServerId::nth(FREE.number() + 1);
/// Bytes that nobody else writes.
const CANARY: &[u8] = b"a secret of the last owner";

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Makes a server in a free slot and lets it begin.
fn begun(id: ServerId, role: RoleKind, config: &'static [u8]) -> [Supervise<'static>; 3] {
    [
        Supervise::Create(id, role, LIMITS, "next", "successor"),
        Supervise::Segment(id, Fixed(TEXT)),
        Supervise::Start(id, Fixed(IMAGE), config),
    ]
}

/// The free slot has had an owner that was sent the canary, answered with it, was configured with it, and is gone.
fn used() -> World {
    let mut world = World::booted();
    let mail = Supervise::Grant(FREE, Grant::Mail(CONSOLE, 2));
    world.on(
        FREE,
        &[
            Effect::Log("a secret of the last owner"),
            Effect::Mail(CONSOLE, CANARY),
        ],
    );
    order(
        &mut world,
        &[&begun(FREE, RoleKind::Control, CANARY)[..], &[mail]].concat(),
    );
    world.assert_no_fault();
    assert!(
        holds(&world.kernel.pages.readable(FREE), CANARY),
        "else nothing is tested"
    );
    order(&mut world, &[Supervise::Destroy(FREE)]);
    world
}

#[test]
fn a_new_server_finds_nothing_in_the_pages_of_its_slot() {
    let mut world = used();
    world.on(FREE, &[]);
    order(&mut world, &begun(FREE, RoleKind::Cpuid, b""));
    let readable = world.kernel.pages.readable(FREE);
    assert!(!holds(&readable, CANARY));
    // Its first message and its empty answer are all that there is.
    let start = world.got(FREE).pop().expect("it was started");
    assert!(readable.starts_with(&start) && readable[start.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_successor_finds_nothing_in_the_pages_of_its_slot_before_and_after_it_takes_over() {
    let mut world = used();
    world.on(IRQCHIP, &[Effect::Exported(CANARY)]);
    world.on(FREE, &[]);
    order(&mut world, &succession(IRQCHIP, RoleKind::Irqchip));
    assert!(
        holds(&world.kernel.pages.readable(IRQCHIP), CANARY),
        "else nothing is tested"
    );
    let import = world.got(FREE).pop().expect("it was started");
    let readable = world.kernel.pages.readable(FREE);
    assert!(
        readable.starts_with(&import) && readable[import.len()..].iter().all(|byte| *byte == 0)
    );
    world.on(IRQCHIP, &[]);
    exchange(&mut world, IRQCHIP);
    let restarted = world
        .got(IRQCHIP)
        .pop()
        .expect("it is told that it has taken over");
    assert!(matches!(
        message(&restarted).body,
        Body::Restarted(Reason::Exchanged, _)
    ));
    let readable = world.kernel.pages.readable(IRQCHIP);
    assert!(
        !holds(&readable, CANARY),
        "what the old server has exported is its answer"
    );
    assert!(
        readable.starts_with(&restarted)
            && readable[restarted.len()..].iter().all(|byte| *byte == 0)
    );
}

#[test]
fn a_server_that_was_exchanged_finds_nothing_of_the_successor_if_it_is_started_again() {
    let mut world = World::booted();
    world.on(SERIAL, &[Effect::Exported(CANARY)]);
    order(&mut world, &succession(SERIAL, RoleKind::Serial));
    order(&mut world, &[Supervise::Exchange(FREE, SERIAL, 1)]);
    assert!(
        holds(&world.kernel.pages.readable(FREE), CANARY),
        "else nothing is tested"
    );
    world.on(FREE, &[]);
    order(&mut world, &[Supervise::Start(FREE, Fixed(IMAGE), b"")]);
    assert!(!holds(&world.kernel.pages.readable(FREE), CANARY));
}

#[test]
fn a_successor_is_never_given_the_configuration_of_its_predecessor() {
    let mut world = World::booted();
    // The predecessor fails over its start, which is its successor's then.
    world.ends(OTHER, Outcome::Fault(Reason::Hang));
    order(&mut world, &begun(OTHER, RoleKind::Cpuid, CANARY));
    let [create, segment, _] = succession(OTHER, RoleKind::Cpuid);
    let succeed = Supervise::Succeed(FREE, OTHER, Fixed(IMAGE), Terms::Reset, b"how");
    order(
        &mut world,
        &[Supervise::Restart(OTHER), create, segment, succeed],
    );
    order(
        &mut world,
        &[
            Supervise::Exchange(FREE, OTHER, 1),
            Supervise::Destroy(FREE),
        ],
    );
    world.last(OTHER, |message| {
        let Body::Start(_, config) = message.body else {
            panic!("{:?}", message.body)
        };
        assert_eq!(
            config, b"how",
            "that of the succession, and not of the first start"
        );
    });
}

#[test]
fn a_new_server_has_no_past() {
    let mut world = World::booted();
    let ask = |world: &mut World, query| {
        world.on(CONTROL, &[Effect::Query(query)]);
        world.kernel.host_event(HostEvent::Irq(HostIrq::nth(3)));
        world.pass();
        world.last(CONTROL, |message| match message.body {
            Body::Record(bytes) => bytes.to_vec(),
            other => panic!("no record: {other:?}"),
        })
    };
    order(&mut world, &begun(FREE, RoleKind::Cpuid, b""));
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    order(&mut world, &[Supervise::Kill(FREE)]);
    order(&mut world, &[Supervise::Restart(FREE)]);
    assert!(
        !ask(&mut world, Query::Dump(FREE, 0)).is_empty(),
        "else nothing is tested"
    );
    order(&mut world, &[Supervise::Destroy(FREE)]);
    order(&mut world, &begun(FREE, RoleKind::Cpuid, b""));
    for part in 0..8 {
        assert!(
            ask(&mut world, Query::Dump(FREE, part)).is_empty(),
            "part {part} of a dump of its predecessor"
        );
    }
    let record = ask(&mut world, Query::Server(FREE));
    let record: ServerRecord<'_> = postcard::from_bytes(&record).expect("a record");
    assert_eq!(
        (record.id, record.restarts, record.time.count),
        (FREE.number(), 0, 1),
        "it has handled its start"
    );
    world.ends(FREE, Outcome::Fault(Reason::Hang));
    order(&mut world, &[Supervise::Kill(FREE)]);
    assert_eq!(world.fault(FREE).map(|report| report.handled), Some(1));
}

#[test]
fn what_a_server_has_asked_is_not_answered_to_the_next_owner_of_its_slot() {
    let mut world = World::booted();
    order(&mut world, &begun(OTHER, RoleKind::Control, b""));
    world.on(FREE, &[Effect::Request(OTHER, 7, b"?")]);
    // The one that is asked takes its time.
    world.on(
        OTHER,
        &[Effect::Defer(Fixed(Ticks(
            world.kernel.state.machine.clock + 1_000_000,
        )))],
    );
    order(
        &mut world,
        &[
            &begun(FREE, RoleKind::Control, b"")[..],
            &[Supervise::Grant(FREE, Grant::Mail(OTHER, 2))],
        ]
        .concat(),
    );
    world.assert_no_fault();
    let (ticket, _) = world
        .kernel
        .state
        .tickets
        .named()
        .next()
        .expect("it waits for an answer");
    order(&mut world, &[Supervise::Destroy(FREE)]);
    order(&mut world, &begun(FREE, RoleKind::Control, b""));
    world.servers().seen.clear();
    world.on(OTHER, &[Effect::Reply(ticket, CANARY)]);
    world.kernel.state.start_first(OTHER, IMAGE);
    world.pass();
    world.assert_no_fault();
    assert_eq!(
        (world.got(OTHER).len(), world.got(FREE)),
        (1, vec![]),
        "it has asked nothing"
    );
    assert_eq!(
        (world.kernel.state.servers[FREE].results, world.waiting()),
        (0, vec![])
    );
}

#[test]
fn pages_of_others_stay_as_they_are() {
    let mut world = World::booted();
    world.exit(Exit::In(0x3f8, 1));
    let before = world.kernel.pages.readable(SERIAL);
    assert!(
        holds(&before, &READ.to_le_bytes()),
        "else nothing is tested"
    );
    order(&mut world, &begun(FREE, RoleKind::Cpuid, b""));
    assert_eq!(world.kernel.pages.readable(SERIAL), before);
    assert!(!world.got(SUPERVISOR).is_empty());
}
