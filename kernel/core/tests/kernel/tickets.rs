//! An exit is a ticket that completes exactly once, by an answer of the kind that the operation wants.

use atoll_core::run::Turn;
use atoll_core::ticket::Operation;
use atoll_core::vcpu::Stand;
use atoll_protocol::effect::{Effect, Offer, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::{Body, Leaf, Stop};
use atoll_protocol::units::{ServerId, TicketId, Ticks};
use atoll_protocol::vcpu::Exception;

use crate::cast::{COM1, CONSOLE, CPUID, HYPERCALL, MSR, POWER, SERIAL, SUPERVISOR};
use crate::exits::Exit;
use crate::machine::TSC_KHZ;
use crate::script::{ENTRY, LEAF, READ, REPLY};
use crate::world::World;

#[test]
fn cpuid_gets_its_leaf_and_the_guest_goes_on_behind_it() {
    let mut world = World::booted();
    world.exit(Exit::Cpuid(0x4000_0000));
    world.last(CPUID, |message| {
        assert!(matches!(message.body, Body::Cpuid(exit) if exit.0.leaf == 0x4000_0000))
    });
    let registers = [0, 3, 1, 2].map(|number| world.register(number));
    assert_eq!(
        registers,
        [LEAF.eax, LEAF.ebx, LEAF.ecx, LEAF.edx].map(u64::from)
    );
    assert_eq!(world.rip(), ENTRY + 2);
    assert_eq!(world.waiting(), []);
    world.assert_no_fault();
}

#[test]
fn rdmsr_splits_its_value_over_two_registers() {
    let mut world = World::booted();
    world.exit(Exit::ReadMsr(0x1b));
    assert_eq!(
        (world.register(0), world.register(2)),
        (READ & 0xffff_ffff, READ >> 32)
    );
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn wrmsr_carries_both_halves() {
    let mut world = World::booted();
    world.exit(Exit::WriteMsr(0x1b, 0x0123_4567_89ab_cdef));
    assert_eq!(world.written(MSR), 0x0123_4567_89ab_cdef);
    assert_eq!(world.rip(), ENTRY + 2);
}

#[test]
fn in_changes_only_the_bytes_that_it_reads() {
    for (size, rax) in [
        (1, 0xffff_ffff_ffff_ff11),
        (2, 0xffff_ffff_ffff_2211),
        (4, 0x4433_2211),
    ] {
        let mut world = World::booted();
        world.kernel.state.vcpu.set_register(0, u64::MAX);
        world.exit(Exit::In(COM1, size));
        assert_eq!(world.register(0), rax);
    }
}

#[test]
fn out_carries_only_the_bytes_that_it_writes() {
    let mut world = World::booted();
    world.exit(Exit::Out(COM1, 1, 0x1234_5678));
    assert_eq!(world.written(SERIAL), 0x78);
}

#[test]
fn vmmcall_returns_in_rax() {
    let mut world = World::booted();
    world.exit(Exit::Hypercall(5));
    world.last(HYPERCALL, |message| {
        assert!(matches!(message.body, Body::Hypercall(exit) if exit.0.number == 5))
    });
    assert_eq!((world.register(0), world.rip()), (READ, ENTRY + 3));
}

#[test]
fn an_exception_takes_the_place_of_the_value_and_the_guest_stays_where_it_is() {
    let mut world = World::booted();
    world.on(MSR, &[Effect::Exception(Fixed(Exception::PROTECTION))]);
    world.exit(Exit::ReadMsr(0x1234));
    assert_eq!(world.rip(), ENTRY);
    world.pass();
    assert_eq!(
        world.kernel.state.vcpu.vmcb.control.event,
        1 << 31 | 1 << 11 | 3 << 8 | 13
    );
    world.assert_no_fault();
}

#[test]
fn a_ticket_left_open_is_a_fault() {
    let mut world = World::booted();
    world.on(CPUID, &[]);
    let (before, after) = world.around(Exit::Cpuid(0));
    assert_eq!(before, after);
    world.assert_fault(CPUID, Reason::TicketOpen);
}

#[test]
fn a_ticket_completed_twice_is_a_fault_and_commits_neither() {
    let mut world = World::booted();
    world.on(
        CPUID,
        &[
            Effect::Leaf(Fixed(LEAF)),
            Effect::Leaf(Fixed(Leaf::default())),
        ],
    );
    let (before, after) = world.around(Exit::Cpuid(0));
    assert_eq!(before, after);
    world.assert_fault(CPUID, Reason::TicketOpen);
}

#[test]
fn a_reply_of_another_kind_is_a_fault() {
    let wrong: [(Exit, _, Effect<'_>); 6] = [
        (Exit::Cpuid(0), CPUID, Effect::Value(Fixed(1))),
        (Exit::ReadMsr(0), MSR, Effect::Done),
        (Exit::WriteMsr(0, 0), MSR, Effect::Leaf(Fixed(LEAF))),
        (Exit::In(COM1, 1), SERIAL, Effect::Data(&[1])),
        (Exit::Out(COM1, 1, 0), SERIAL, Effect::Resume),
        (
            Exit::Hypercall(0),
            HYPERCALL,
            Effect::Exception(Fixed(Exception::UNDEFINED)),
        ),
    ];
    for (exit, server, effect) in wrong {
        let mut world = World::booted();
        world.on(server, &[effect]);
        let (before, after) = world.around(exit);
        assert_eq!(before, after, "{effect:?}");
        world.assert_fault(server, Reason::WrongReply);
    }
}

#[test]
fn completing_without_a_ticket_is_a_fault() {
    let mut world = World::booted();
    world.on(
        crate::cast::IRQCHIP,
        &[Effect::Offer(Fixed(Offer::default())), Effect::Done],
    );
    world.on(
        crate::cast::TIMER,
        &[
            Effect::Done,
            Effect::Line(
                atoll_protocol::units::LineId::nth(0),
                atoll_protocol::effect::Signal::Pulse,
            ),
        ],
    );
    world.exit(Exit::Out(0x40, 1, 0));
    world.assert_fault(crate::cast::IRQCHIP, Reason::WrongTicket);
}

/// The supervisor asks the console something, at its next message.
fn ask(world: &mut World) {
    world.on(SUPERVISOR, &[Effect::Request(CONSOLE, 77, b"how are you?")]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
}

/// What the supervisor was answered, if it was.
fn answered(world: &mut World) -> Option<(u32, Option<Vec<u8>>)> {
    world.last(SUPERVISOR, |message| match message.body {
        Body::Answered(token, bytes) => Some((token, bytes.map(<[u8]>::to_vec))),
        _ => None,
    })
}

#[test]
fn a_request_by_mail_is_answered_with_its_token() {
    let mut world = World::booted();
    ask(&mut world);
    world.pass();
    world.last(CONSOLE, |message| {
        assert!(matches!(
            message.body,
            Body::Request(SUPERVISOR, b"how are you?")
        ));
        assert_ne!(message.header.0.ticket, TicketId(0));
    });
    assert_eq!(answered(&mut world), Some((77, Some(REPLY.to_vec()))));
    assert_eq!(world.waiting(), []);
    assert_eq!(world.kernel.state.servers[ServerId::SUPERVISOR].results, 0);
}

#[test]
fn a_deferred_request_stays_open_until_a_later_answer_replies() {
    let mut world = World::booted();
    let deadline = world.kernel.state.machine.clock + 5000;
    world.on(CONSOLE, &[Effect::Defer(Fixed(Ticks(deadline)))]);
    ask(&mut world);
    world.pass();
    assert_eq!(world.waiting(), [(Operation::Mail, CONSOLE)]);
    assert_eq!(answered(&mut world), None);
    let ticket = world.ticket(Operation::Mail);
    world.on(CONSOLE, &[Effect::Reply(ticket, b"at last")]);
    world.kernel.host_event(atoll_core::run::HostEvent::Irq(
        atoll_protocol::units::HostIrq::nth(4),
    ));
    world.pass();
    assert_eq!(answered(&mut world), Some((77, Some(b"at last".to_vec()))));
    world.until(deadline + 1);
    world.pass();
    assert_eq!(world.got(SUPERVISOR).len(), 2, "it is not given up as well");
    world.assert_no_fault();
}

#[test]
fn a_deferred_request_is_given_up_at_its_deadline_and_a_late_reply_is_a_fault() {
    let mut world = World::booted();
    let deadline = world.kernel.state.machine.clock + 5000;
    world.on(CONSOLE, &[Effect::Defer(Fixed(Ticks(deadline)))]);
    ask(&mut world);
    world.pass();
    let ticket = world.ticket(Operation::Mail);
    world.until(deadline - 1);
    world.pass();
    assert_eq!(answered(&mut world), None);
    world.until(deadline);
    world.pass();
    assert_eq!(answered(&mut world), Some((77, None)));
    assert_eq!(world.waiting(), []);
    world.on(CONSOLE, &[Effect::Reply(ticket, b"too late")]);
    world.kernel.host_event(atoll_core::run::HostEvent::Irq(
        atoll_protocol::units::HostIrq::nth(4),
    ));
    world.assert_fault(CONSOLE, Reason::WrongTicket);
}

#[test]
fn a_request_cannot_be_deferred_for_ever() {
    let mut world = World::booted();
    let now = world.kernel.state.machine.clock;
    world.on(
        CONSOLE,
        &[Effect::Defer(Fixed(Ticks(now + 20_000 * TSC_KHZ)))],
    );
    ask(&mut world);
    world.assert_fault(CONSOLE, Reason::BadValue);
}

#[test]
fn a_request_is_given_up_when_its_holder_is() {
    let mut world = World::booted();
    world.on(
        CONSOLE,
        &[Effect::Line(
            atoll_protocol::units::LineId::nth(4),
            atoll_protocol::effect::Signal::Raise,
        )],
    );
    ask(&mut world);
    world.assert_fault(CONSOLE, Reason::NotGranted);
    assert_eq!(
        world.waiting(),
        [(Operation::Mail, CONSOLE)],
        "it may be restarted"
    );
    world.on(
        SUPERVISOR,
        &[Effect::Supervise(Supervise::Quarantine(CONSOLE))],
    );
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    let given_up = world.got(SUPERVISOR);
    let given_up = given_up
        .iter()
        .any(|bytes| matches!(crate::script::message(bytes).body, Body::Answered(77, None)));
    assert!(given_up);
    assert_eq!(world.waiting(), []);
}

#[test]
fn a_server_that_stops_the_machine_while_it_is_asked_still_replies() {
    let mut world = World::booted();
    world.on(
        POWER,
        &[
            Effect::Defer(Fixed(Ticks(world.kernel.state.machine.clock + 5000))),
            Effect::Stop(Stop::PowerOff),
        ],
    );
    world.on(SUPERVISOR, &[Effect::Request(POWER, 77, b"switch off")]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    assert_eq!(world.kernel.state.stopped, Some(Stop::PowerOff));
    assert_eq!(world.waiting(), [(Operation::Mail, POWER)]);
    world.until(world.kernel.state.machine.clock + 5000);
    world.pass();
    assert_eq!(answered(&mut world), Some((77, None)));
}

#[test]
fn a_ticket_of_another_server_cannot_be_answered() {
    let mut world = World::booted();
    world.on(
        CONSOLE,
        &[Effect::Defer(Fixed(Ticks(
            world.kernel.state.machine.clock + 5000,
        )))],
    );
    ask(&mut world);
    world.pass();
    let ticket = world.ticket(Operation::Mail);
    world.on(
        CPUID,
        &[
            Effect::Reply(ticket, b"mine now"),
            Effect::Leaf(Fixed(LEAF)),
        ],
    );
    let (before, after) = world.around(Exit::Cpuid(0));
    assert_eq!(before, after);
    world.assert_fault(CPUID, Reason::WrongTicket);
    assert_eq!(
        world.ticket(Operation::Mail),
        ticket,
        "it is still the console's"
    );
}

#[test]
fn one_answer_cannot_reply_twice() {
    let mut world = World::booted();
    world.on(
        CONSOLE,
        &[Effect::Defer(Fixed(Ticks(
            world.kernel.state.machine.clock + 5000,
        )))],
    );
    ask(&mut world);
    world.pass();
    let ticket = world.ticket(Operation::Mail);
    world.on(
        CONSOLE,
        &[Effect::Reply(ticket, b"yes"), Effect::Reply(ticket, b"no")],
    );
    world.kernel.host_event(atoll_core::run::HostEvent::Irq(
        atoll_protocol::units::HostIrq::nth(4),
    ));
    world.assert_fault(CONSOLE, Reason::WrongTicket);
}

#[test]
fn every_exit_gets_a_ticket_of_its_own() {
    let mut world = World::booted();
    let mut names = Vec::new();
    for _ in 0..1000 {
        world.exit(Exit::Cpuid(0));
        names.push(world.last(CPUID, |message| message.header.0.ticket.0));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1000);
}

#[test]
fn a_faulted_servers_exit_is_not_completed() {
    let mut world = World::booted();
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(0));
    assert_eq!(
        (world.kernel.state.vcpu.stand, world.rip()),
        (Stand::Runnable, ENTRY),
        "the guest will execute it again"
    );
    assert_eq!(world.waiting(), []);
    assert_eq!(
        world.pass(),
        Turn::Idle,
        "but not before the server is back"
    );
}
