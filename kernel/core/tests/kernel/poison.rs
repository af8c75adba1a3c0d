//! Whatever a server asks of the supervisor, it ends as an answer to that server, and never as the end of the host.

use atoll_core::machine::Outcome;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::server::Standing;
use atoll_protocol::effect::{Effect, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::grant::Limits;
use atoll_protocol::message::Body;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, ServerId};

use crate::cast::{CONTROL, FREE, LIMITS, SUPERVISOR};
use crate::exits::Exit;
use crate::script::{ENTRY, Line, encode, message};
use crate::world::World;

/// How often the supervisor fails over what is asked of it before that is dropped.
const ATTEMPTS: usize = 3;

/// The supervisor takes something and fails, and is told of its restart, so many times.
fn fails(world: &mut World, line: &Line, times: usize) {
    for _ in 0..times {
        world.servers().on(SUPERVISOR, line.clone());
        world.on(SUPERVISOR, &[]);
    }
}

/// The control server asks, or tells, the supervisor something.
fn says(world: &mut World, effect: Effect<'_>) -> Turn {
    world.on(CONTROL, &[effect]);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(3)));
    // The guest has its turn in between.
    world.pass();
    world.pass();
    world.pass()
}

/// How the supervisor can fail.
fn failures() -> [Line; 4] {
    let huge = Limits {
        vault_lines: 4096,
        stack_pages: 64,
        ..LIMITS
    };
    let exhausted = Supervise::Create(FREE, RoleKind::Cpuid, huge, "another", "image");
    [
        Line::Ends(Outcome::Fault(Reason::Hang)),
        Line::Panics("no"),
        Line::Bytes(encode(&[Effect::Supervise(exhausted)])),
        // It forgets to answer.
        Line::Bytes(vec![]),
    ]
}

#[test]
fn a_request_over_which_the_supervisor_always_fails_is_given_up_and_the_host_goes_on() {
    for line in failures() {
        let mut world = World::booted();
        world.kernel.state.machine.frames = 50;
        fails(&mut world, &line, ATTEMPTS);
        assert_eq!(
            says(&mut world, Effect::Request(SUPERVISOR, 7, b"poison")),
            Turn::Enter,
            "{line:?}"
        );
        world.last(CONTROL, |message| {
            assert_eq!(message.body, Body::Answered(7, None), "{line:?}")
        });
        assert_eq!(
            world.kernel.state.servers[ServerId::SUPERVISOR].standing,
            Standing::Running
        );
        assert!(
            world
                .servers()
                .log
                .iter()
                .any(|line| line.contains("it is dropped"))
        );
        // The next order is as good as any.
        assert_eq!(
            says(&mut world, Effect::Request(SUPERVISOR, 8, b"an order")),
            Turn::Enter
        );
        world.last(CONTROL, |message| {
            assert!(
                matches!(message.body, Body::Answered(8, Some(_))),
                "{line:?}"
            )
        });
    }
}

#[test]
fn it_is_tried_again_before_it_is_given_up() {
    for times in 0..ATTEMPTS {
        let mut world = World::booted();
        fails(&mut world, &Line::Panics("not yet"), times);
        assert_eq!(
            says(&mut world, Effect::Request(SUPERVISOR, 7, b"an order")),
            Turn::Enter
        );
        world.last(CONTROL, |message| {
            assert!(
                matches!(message.body, Body::Answered(7, Some(_))),
                "{:?}",
                message.body
            )
        });
    }
}

#[test]
fn poison_after_poison_never_ends_the_host() {
    let mut world = World::booted();
    for round in 0..100 {
        let lines = failures();
        fails(&mut world, &lines[round % 2], ATTEMPTS);
        assert_eq!(
            says(&mut world, Effect::Request(SUPERVISOR, 7, b"poison")),
            Turn::Enter,
            "round {round}"
        );
        world.last(CONTROL, |message| {
            assert_eq!(message.body, Body::Answered(7, None))
        });
    }
    assert_eq!(world.waiting(), []);
    world.exit(Exit::Cpuid(0));
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn mail_that_the_supervisor_does_not_know_is_dropped_too() {
    let mut world = World::booted();
    fails(&mut world, &Line::Panics("no mail"), ATTEMPTS);
    assert_eq!(
        says(&mut world, Effect::Mail(SUPERVISOR, b"anything")),
        Turn::Enter
    );
    let seen = world.got(SUPERVISOR);
    let mails = seen
        .iter()
        .filter(|bytes| matches!(message(bytes).body, Body::Mail(..)))
        .count();
    assert_eq!(mails, ATTEMPTS);
    // Its credit is two letters.
    for _ in 0..3 {
        assert_eq!(
            says(&mut world, Effect::Mail(SUPERVISOR, b"harmless")),
            Turn::Enter
        );
    }
    world.assert_no_fault();
}

#[test]
fn what_the_kernel_itself_has_to_tell_is_not_dropped() {
    let mut world = World::booted();
    fails(&mut world, &Line::Panics("no"), 4);
    world.ends(crate::cast::CPUID, Outcome::Fault(Reason::Hang));
    world.exit(Exit::Cpuid(0));
    world.pass();
    let told = world.got(SUPERVISOR);
    let faults = told
        .iter()
        .filter(|bytes| matches!(message(bytes).body, Body::ServerFaulted(_)))
        .count();
    assert_eq!(faults, 5, "four in vain");
}
