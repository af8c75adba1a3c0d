//! A server that broke a rule is restarted, and what it had not handled is delivered again: exactly that, and once.

use atoll_core::machine::Outcome;
use atoll_core::run::Turn;
use atoll_core::server::Standing;
use atoll_core::ticket::Operation;
use atoll_protocol::effect::{Effect, Forward, Offer, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::IMAGE;
use atoll_protocol::message::Body;
use atoll_protocol::units::{HostIrq, ServerId, TicketId, Ticks, TimerId};

use crate::cast::{COM1, CONSOLE, CPUID, IRQCHIP, LAPIC, MMU, SERIAL, SUPERVISOR};
use crate::exits::Exit;
use crate::machine::Act;
use crate::script::{ENTRY, LEAF, READ};
use crate::world::World;

/// The supervisor does this when it gets its next message, which it does now.
pub(crate) fn order(world: &mut World, effects: &[Supervise<'_>]) -> Turn {
    let effects: Vec<Effect<'_>> = effects.iter().copied().map(Effect::Supervise).collect();
    world.on(SUPERVISOR, &effects);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass()
}

/// The supervisor restarts it.
pub(crate) fn restart(world: &mut World, id: ServerId) -> Turn {
    order(world, &[Supervise::Restart(id)])
}

/// What a server was told, by the kinds of its messages.
fn told(world: &mut World, id: ServerId) -> Vec<String> {
    let name = |bytes: Vec<u8>| {
        format!("{:?}", crate::script::message(&bytes).body)
            .split('(')
            .next()
            .unwrap_or("")
            .to_owned()
    };
    world.got(id).into_iter().map(name).collect()
}

#[test]
fn the_guest_does_not_run_before_a_server_has_heard_that_it_was_restarted() {
    for others in 0..9 {
        let mut world = World::booted();
        world.ends(CPUID, Outcome::Fault(Reason::Hang));
        world.exit(Exit::Cpuid(0));
        world.pass();
        // So many messages are delivered ahead of what the supervisor is to do: the last of a pass may be the order, and nothing else.
        for server in 3..3 + others {
            world.kernel.state.start_first(ServerId::nth(server), IMAGE);
        }
        let restart = Effect::Supervise(Supervise::Restart(CPUID));
        world.on(SUPERVISOR, &[restart]);
        world.kernel.state.start_first(SUPERVISOR, IMAGE);
        let turn = (0..100)
            .map(|_| world.kernel.pass())
            .find(|turn| *turn != Turn::Again);
        assert_eq!(turn, Some(Turn::Enter));
        let heard = told(&mut world, CPUID);
        assert_eq!(
            heard.last().map(String::as_str),
            Some("Restarted"),
            "{others} others"
        );
    }
}

/// A load through the emulator, which the kernel is to finish like this.
fn load(finish: u8) -> Effect<'static> {
    let forward = Forward {
        address: LAPIC + 0x80,
        rip_or_token: if finish == Forward::RETURN {
            77
        } else {
            ENTRY + 2
        },
        count: 1,
        size: 4,
        finish,
        register: 3,
        width: 4,
        ..Forward::default()
    };
    Effect::Forward(Fixed(forward), &[])
}

#[test]
fn an_exit_whose_server_was_faulted_is_executed_again() {
    let mut world = World::booted();
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(7));
    assert_eq!(
        world.pass(),
        Turn::Idle,
        "the guest does not run while the server is away"
    );
    assert_eq!(restart(&mut world, CPUID), Turn::Enter);
    assert_eq!((world.rip(), world.waiting()), (ENTRY, vec![]));
    world.exit(Exit::Cpuid(7));
    assert_eq!(told(&mut world, CPUID), ["Cpuid", "Restarted", "Cpuid"]);
    assert_eq!(
        (world.rip(), world.register(0)),
        (ENTRY + 2, u64::from(LEAF.eax))
    );
}

#[test]
fn a_forwarded_access_is_delivered_to_the_device_again() {
    let mut world = World::booted();
    world.on(MMU, &[load(Forward::LOAD)]);
    world.on(IRQCHIP, &[]);
    world.exit(Exit::Fault(LAPIC + 0x80));
    world.pass();
    assert_eq!(world.waiting(), [(Operation::MmioRead, IRQCHIP)]);
    assert_eq!(restart(&mut world, IRQCHIP), Turn::Enter);
    assert_eq!(
        told(&mut world, IRQCHIP),
        ["MmioRead", "Restarted", "MmioRead"]
    );
    assert_eq!(
        told(&mut world, MMU),
        ["NestedFault"],
        "the emulator is not asked again"
    );
    assert_eq!(
        (world.register(3), world.rip()),
        (READ & 0xffff_ffff, ENTRY + 2)
    );
    assert_eq!(world.waiting(), []);
}

#[test]
fn an_accesss_result_is_given_back_to_the_emulator_again() {
    let mut world = World::booted();
    world.on(MMU, &[load(Forward::RETURN)]);
    world.ends(MMU, Outcome::Fault(Reason::Hang));
    world.exit(Exit::Fault(LAPIC + 0x80));
    world.pass();
    assert_eq!(restart(&mut world, MMU), Turn::Enter);
    assert_eq!(
        told(&mut world, MMU),
        ["NestedFault", "AccessDone", "Restarted", "AccessDone"]
    );
    assert_eq!(
        told(&mut world, IRQCHIP),
        ["MmioRead"],
        "the device has been read once"
    );
    world.last(MMU, |message| {
        let Body::AccessDone(done, ..) = message.body else {
            panic!("no result")
        };
        assert_eq!((done.0.token, done.0.value), (77, READ & 0xffff_ffff));
    });
}

#[test]
fn a_string_that_was_written_is_delivered_to_the_device_again() {
    let mut world = World::booted();
    let forward = Forward {
        address: u64::from(COM1),
        space: Forward::PORT,
        write: 1,
        size: 1,
        count: 3,
        ..Forward::default()
    };
    let forward = Forward {
        finish: Forward::RETURN,
        ..forward
    };
    world.on(MMU, &[Effect::Forward(Fixed(forward), b"abc")]);
    world.on(SERIAL, &[]);
    world.exit(Exit::StringIo(COM1, false));
    world.pass();
    restart(&mut world, SERIAL);
    let strings: Vec<Vec<u8>> = world
        .got(SERIAL)
        .iter()
        .filter_map(|bytes| match crate::script::message(bytes).body {
            Body::PortWriteString(_, bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .collect();
    assert_eq!(strings, [b"abc", b"abc"]);
    assert_eq!(told(&mut world, MMU), ["StringIo", "AccessDone"]);
}

#[test]
fn registers_are_asked_for_again() {
    let mut world = World::booted();
    world.on(MMU, &[Effect::NeedRegisters]);
    world.on(MMU, &[]);
    world.exit(Exit::Fault(0x8000));
    let first = world.fault(MMU).expect("it is faulted").handled;
    restart(&mut world, MMU);
    world.on(MMU, &[Effect::NeedRegisters]);
    world.on(MMU, &[]);
    world.exit(Exit::Fault(0x8000));
    let second = world.fault(MMU).expect("it is faulted").handled;
    assert_eq!(
        second,
        first + 1,
        "only the message about the restart lies between two faults over the same message"
    );
}

#[test]
fn mail_interrupts_and_results_wait_for_the_restart() {
    let mut world = World::booted();
    world.ends(CONSOLE, Outcome::Fault(Reason::Hang));
    world
        .kernel
        .host_event(atoll_core::run::HostEvent::Irq(HostIrq::nth(4)));
    world.pass();
    world.on(
        SERIAL,
        &[Effect::Mail(CONSOLE, b"kept"), Effect::Value(Fixed(0))],
    );
    world.exit(Exit::In(COM1, 1));
    restart(&mut world, CONSOLE);
    assert_eq!(
        told(&mut world, CONSOLE),
        ["HostIrq", "Restarted", "HostIrq", "Mail"]
    );
    let unmasked = world
        .kernel
        .state
        .machine
        .journal
        .iter()
        .filter(|act| **act == Act::Unmask(HostIrq::nth(4)))
        .count();
    assert_eq!(unmasked, 1);
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(10)].undelivered_to(CONSOLE),
        0
    );
}

#[test]
fn mail_beyond_the_credit_of_a_faulted_receiver_is_lost_and_is_no_fault_of_the_senders() {
    let mut world = World::booted();
    world.ends(CONSOLE, Outcome::Fault(Reason::Hang));
    world
        .kernel
        .host_event(atoll_core::run::HostEvent::Irq(HostIrq::nth(4)));
    world.pass();
    let mails = [Effect::Mail(CONSOLE, b"one"); 6];
    world.on(SERIAL, &[&mails[..], &[Effect::Value(Fixed(0))]].concat());
    world.exit(Exit::In(COM1, 1));
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(11)]
            .letters()
            .count(),
        4
    );
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(10)].standing,
        Standing::Running
    );
}

#[test]
fn a_tick_arrives_though_the_interrupt_controller_was_killed_with_its_timer_armed() {
    let mut world = World::booted();
    let at = world.kernel.state.machine.clock + 500;
    world.on(
        IRQCHIP,
        &[Effect::Arm(TimerId::nth(0), Fixed(Ticks(at))), Effect::Done],
    );
    world.exit(Exit::WriteMsr(0x838, 1));
    order(&mut world, &[Supervise::Kill(IRQCHIP)]);
    assert_eq!(
        world.fault(IRQCHIP).map(|report| report.reason),
        Some(Reason::Killed)
    );
    world.until(at);
    assert_eq!(
        world.pass(),
        Turn::Idle,
        "it has expired while nobody was there"
    );
    let offer = Offer {
        vcpu: 0,
        vector: 0x30,
        kind: Offer::FIXED,
        nmi: 0,
    };
    world.on(IRQCHIP, &[]);
    world.on(IRQCHIP, &[Effect::Offer(Fixed(offer))]);
    world.kernel.state.vcpu.vmcb.save.rflags |= 0x200;
    assert_eq!(restart(&mut world, IRQCHIP), Turn::Enter);
    assert_eq!(
        told(&mut world, IRQCHIP),
        ["MsrWrite", "Restarted", "Timer"]
    );
    assert_eq!(
        crate::exits::injected(&world.kernel.state.vcpu.vmcb) & 0xff,
        0x30
    );
}

#[test]
fn the_vault_is_what_was_committed_and_the_memory_what_is_in_the_bundle() {
    let mut world = World::booted();
    world.on(CPUID, &[Effect::Save(2, 1), Effect::Leaf(Fixed(LEAF))]);
    world.exit(Exit::Cpuid(0));
    world.on(CPUID, &[]);
    world.exit(Exit::Cpuid(0));
    world.kernel.state.machine.journal.clear();
    restart(&mut world, CPUID);
    let journal = &world.kernel.state.machine.journal;
    let refilled = journal
        .iter()
        .any(|act| matches!(act, Act::Refill(CPUID, segment) if segment.address == IMAGE));
    assert!(
        refilled && journal.contains(&Act::Restore(CPUID)),
        "{journal:?}"
    );
}

#[test]
fn a_server_is_told_which_requests_it_still_has_to_answer() {
    let mut world = World::booted();
    let until = world.kernel.state.machine.clock + 5000;
    world.on(CONSOLE, &[Effect::Defer(Fixed(Ticks(until)))]);
    world.on(SUPERVISOR, &[Effect::Request(CONSOLE, 77, b"when you can")]);
    world.kernel.state.start_first(SUPERVISOR, IMAGE);
    world.pass();
    let ticket = world.ticket(Operation::Mail);
    order(&mut world, &[Supervise::Kill(CONSOLE)]);
    world.on(CONSOLE, &[Effect::Reply(ticket, b"now")]);
    restart(&mut world, CONSOLE);
    let mut told = [TicketId(0); 8];
    let restarted = world.got(CONSOLE);
    for bytes in &restarted {
        if let Body::Restarted(reason, held) = crate::script::message(bytes).body {
            assert_eq!(reason, Reason::Killed);
            told = held.0.tickets;
        }
    }
    assert_eq!(told[..2], [ticket, TicketId(0)]);
    world.last(SUPERVISOR, |message| {
        assert_eq!(message.body, Body::Answered(77, Some(b"now")))
    });
}

#[test]
fn a_server_that_fails_at_its_start_starts_again_and_one_that_fails_at_its_restart_is_told_again() {
    let mut world = World::booted();
    world.ends(CPUID, Outcome::Fault(Reason::Hang));
    order(&mut world, &[Supervise::Kill(CPUID)]);
    restart(&mut world, CPUID);
    restart(&mut world, CPUID);
    assert_eq!(told(&mut world, CPUID), ["Restarted", "Restarted"]);
    let mut world = World::with_frames(8192);
    let made = crate::cast::making(&crate::cast::CAST[1]);
    world.on(
        SUPERVISOR,
        &[
            &[Effect::Supervise(Supervise::CreateMachine(
                Fixed(2 << 20),
                1,
                Fixed(0),
            ))],
            &made[..],
        ]
        .concat(),
    );
    world.ends(CPUID, Outcome::Fault(Reason::Hang));
    world.pass();
    restart(&mut world, CPUID);
    assert_eq!(told(&mut world, CPUID), ["Start", "Start"]);
}

#[test]
fn only_what_is_down_can_be_restarted() {
    let mut world = World::booted();
    for effect in [
        Supervise::Restart(CPUID),
        Supervise::Restart(SUPERVISOR),
        Supervise::Restart(ServerId::nth(30)),
    ] {
        let generation = world.kernel.state.servers[ServerId::SUPERVISOR].generation;
        order(&mut world, &[effect]);
        assert_eq!(
            world.kernel.state.servers[ServerId::SUPERVISOR].generation,
            generation + 2,
            "{effect:?} was not refused"
        );
    }
    let (supervisor, cpuid) = (
        &world.kernel.state.servers[ServerId::SUPERVISOR],
        &world.kernel.state.servers[ServerId::nth(2)],
    );
    assert_eq!((cpuid.generation, cpuid.restarts), (1, 0));
    assert_eq!(supervisor.restarts, 3, "it was restarted over each of them");
}

#[test]
fn a_hundred_thousand_restarts_leak_nothing() {
    let mut world = World::booted();
    let until = Ticks(u64::MAX - 1);
    world.on(
        SERIAL,
        &[
            Effect::Arm(TimerId::nth(1), Fixed(until)),
            Effect::Value(Fixed(0)),
        ],
    );
    world.exit(Exit::In(COM1, 1));
    let before = world.observe();
    let waiting = world.waiting();
    for round in 0..100_000 {
        // Each time it falls over an access, over mail, or because somebody wants it.
        match round % 3 {
            0 => {
                world.on(SERIAL, &[]);
                world.exit(Exit::In(COM1, 1));
            }
            1 => {
                world.ends(SERIAL, Outcome::Fault(Reason::Hang));
                world
                    .kernel
                    .host_event(atoll_core::run::HostEvent::Irq(HostIrq::nth(4)));
                world.on(CONSOLE, &[Effect::Mail(SERIAL, b"input")]);
                world.pass();
            }
            _ => _ = order(&mut world, &[Supervise::Kill(SERIAL)]),
        }
        restart(&mut world, SERIAL);
        world.servers().seen.clear();
        world.servers().log.clear();
        world.kernel.state.machine.journal.clear();
    }
    let serial = &world.kernel.state.servers[ServerId::nth(10)];
    assert_eq!((serial.generation, serial.restarts), (100_001, 100_000));
    let after = world.observe();
    assert_eq!(
        (after.frames, &after.timers, after.levels),
        (before.frames, &before.timers, before.levels)
    );
    assert_eq!(
        (&after.mail, &after.outstanding, &after.results),
        (&before.mail, &before.outstanding, &before.results)
    );
    assert_eq!(world.waiting(), waiting);
    world.exit(Exit::In(COM1, 1));
    assert_eq!(world.register(0) & 0xff, READ & 0xff);
}
