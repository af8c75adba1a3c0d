//! A server that was given up: its role's fallbacks answer for it.

use atoll_core::machine::Outcome;
use atoll_core::run::Turn;
use atoll_core::server::Standing;
use atoll_core::ticket::Operation;
use atoll_protocol::effect::{Effect, Forward, Signal, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::role::Hypercall;
use atoll_protocol::units::{HostIrq, LineId, ServerId, Ticks, TimerId};

use crate::cast::{COM1, CONSOLE, CONTROL, CPUID, HYPERCALL, IRQCHIP, LAPIC, MMU, MSR, SERIAL};
use crate::exits::Exit;
use crate::restart::{order, restart};
use crate::script::{ENTRY, READ};
use crate::world::World;

/// A machine in which this server was given up.
fn without(id: atoll_protocol::units::ServerId) -> World {
    let mut world = World::booted();
    assert_eq!(order(&mut world, &[Supervise::Quarantine(id)]), Turn::Enter);
    world.servers().seen.clear();
    world
}

#[test]
fn what_the_guest_asks_of_it_is_answered_as_its_role_declares() {
    let mut world = without(CPUID);
    world.exit(Exit::Cpuid(0));
    assert_eq!((world.rip(), world.register(0)), (ENTRY + 2, 0));
    let mut world = without(HYPERCALL);
    world.exit(Exit::Hypercall(1));
    assert_eq!(world.register(0), Hypercall::NO_SUCH_CALL);
    let mut world = without(SERIAL);
    world.exit(Exit::In(COM1, 2));
    assert_eq!(
        (world.rip(), world.register(0) & 0xffff),
        (ENTRY + 1, 0xffff)
    );
    world.exit(Exit::Out(COM1, 1, 7));
    assert_eq!(world.rip(), ENTRY + 1);
    let mut world = without(MSR);
    world.exit(Exit::ReadMsr(0x10));
    assert_eq!(world.pass(), Turn::Enter);
    assert_eq!(
        world.kernel.state.vcpu.vmcb.control.event & 0x8000_07ff,
        0x8000_030d,
        "#GP"
    );
    assert!(world.got(MSR).is_empty());
    assert!(
        world
            .servers()
            .log
            .iter()
            .any(|line| line.contains("fallback"))
    );
}

#[test]
fn what_waited_for_it_is_completed_too() {
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
    assert_eq!(
        order(&mut world, &[Supervise::Quarantine(IRQCHIP)]),
        Turn::Enter
    );
    assert_eq!(
        (world.register(3), world.rip(), world.waiting()),
        (0xffff_ffff, ENTRY + 2, vec![])
    );
}

#[test]
fn a_string_read_from_it_is_all_ones() {
    let mut world = without(SERIAL);
    let forward = Forward {
        address: u64::from(COM1),
        space: Forward::PORT,
        size: 2,
        count: 3,
        ..Forward::default()
    };
    world.on(
        MMU,
        &[Effect::Forward(
            Fixed(Forward {
                finish: Forward::RETURN,
                ..forward
            }),
            &[],
        )],
    );
    world.exit(Exit::StringIo(COM1, true));
    world.last(MMU, |message| {
        let Body::AccessDone(_, _, _, bytes) = message.body else {
            panic!("no result")
        };
        assert_eq!(bytes, [0xff; 6]);
    });
}

#[test]
fn it_gets_no_timers_no_mail_and_no_interrupts_and_its_lines_are_low() {
    let mut world = World::booted();
    let at = world.kernel.state.machine.clock + 100;
    let raise = Effect::Line(LineId::nth(4), Signal::Raise);
    world.on(
        SERIAL,
        &[
            raise,
            Effect::Arm(TimerId::nth(0), Fixed(Ticks(at))),
            Effect::Value(Fixed(0)),
        ],
    );
    world.exit(Exit::In(COM1, 1));
    world.pass();
    assert_eq!(world.kernel.state.levels.bits(), 1 << 4);
    order(
        &mut world,
        &[
            Supervise::Quarantine(SERIAL),
            Supervise::Quarantine(CONTROL),
        ],
    );
    assert!(world.kernel.state.levels.is_empty());
    world.servers().seen.clear();
    world.until(at);
    world.on(CONSOLE, &[Effect::Mail(SERIAL, b"lost"); 9]);
    world
        .kernel
        .host_event(atoll_core::run::HostEvent::Irq(HostIrq::nth(4)));
    world
        .kernel
        .host_event(atoll_core::run::HostEvent::Irq(HostIrq::nth(3)));
    assert_eq!(world.pass(), Turn::Enter);
    assert!(world.got(SERIAL).is_empty() && world.got(CONTROL).is_empty());
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(11)].standing,
        Standing::Running,
        "who writes to it has done nothing wrong"
    );
}

#[test]
fn it_can_be_restarted_nevertheless() {
    let mut world = World::booted();
    world.ends(SERIAL, Outcome::Fault(Reason::Hang));
    world.exit(Exit::In(COM1, 1));
    world.pass();
    order(&mut world, &[Supervise::Quarantine(SERIAL)]);
    restart(&mut world, SERIAL);
    world.exit(Exit::In(COM1, 1));
    assert_eq!(world.register(0) & 0xff, READ & 0xff);
}
