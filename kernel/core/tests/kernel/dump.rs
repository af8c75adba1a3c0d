//! What is kept of a server's last fault, and given to the control server part by part.

use atoll_core::machine::Outcome;
use atoll_core::run::HostEvent;
use atoll_protocol::cause::What;
use atoll_protocol::control::DumpPart;
use atoll_protocol::effect::{Effect, Query, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::message::Body;
use atoll_protocol::units::{HostIrq, ServerId};

use crate::cast::{CONTROL, CPUID, MSR};
use crate::exits::Exit;
use crate::restart::{order, restart};
use crate::world::World;

/// The part with this index, as the control server gets it and `take` sees it; `None` for an empty record.
fn part<T>(
    world: &mut World,
    id: ServerId,
    index: u8,
    take: impl Fn(DumpPart<'_>) -> T,
) -> Option<T> {
    world.on(CONTROL, &[Effect::Query(Query::Dump(id, index))]);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(3)));
    world.pass();
    let mut taken = None;
    world.last(CONTROL, |message| {
        let Body::Record(bytes) = message.body else {
            panic!("no record")
        };
        taken = (!bytes.is_empty())
            .then(|| take(postcard::from_bytes(bytes).expect("a part of a dump")));
    });
    taken
}

/// The message that the dump holds, by the name of its body.
fn message(world: &mut World) -> Option<String> {
    let mut page = Vec::new();
    for index in 2..6 {
        part(world, CPUID, index, |part| match part {
            DumpPart::Message(piece) => piece.to_vec(),
            other => panic!("{other:?}"),
        })
        .into_iter()
        .for_each(|piece| page.extend(piece));
    }
    let message = postcard::take_from_bytes::<atoll_protocol::message::Message<'_>>(&page)
        .ok()?
        .0;
    Some(
        format!("{:?}", message.body)
            .split('(')
            .next()
            .unwrap_or("")
            .to_owned(),
    )
}

#[test]
fn a_fault_is_told_with_registers_message_and_past_also_after_the_restart() {
    let mut world = World::booted();
    world.exit(Exit::Cpuid(5));
    let reason = Reason::Exception {
        vector: 14,
        error: 4,
        address: 0x1234,
    };
    world.ends(CPUID, Outcome::Fault(reason));
    world.exit(Exit::Cpuid(7));
    let generation = world.kernel.state.servers[CPUID].generation;
    restart(&mut world, CPUID);
    world.exit(Exit::Cpuid(9));
    let fault = part(&mut world, CPUID, 0, |part| match part {
        DumpPart::Fault(report) => (
            report.server,
            report.reason,
            report.generation,
            report.injected,
        ),
        other => panic!("{other:?}"),
    });
    assert_eq!(fault, Some((CPUID, reason, generation, false)));
    let registers = part(&mut world, CPUID, 1, |part| match part {
        DumpPart::Registers(registers) => registers.map(|value| value as usize),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        registers,
        Some(std::array::from_fn(|index| index)),
        "in the machine's order"
    );
    assert_eq!(message(&mut world).as_deref(), Some("Cpuid"));
    let mut past = Vec::new();
    while let Some(cause) = part(&mut world, CPUID, 6 + past.len() as u8, |part| match part {
        DumpPart::Past(_, what, number) => (what, number),
        other => panic!("{other:?}"),
    }) {
        past.push(cause);
    }
    assert_eq!(
        past[past.len() - 2..],
        [(What::Cpuid, 5), (What::Cpuid, 7)],
        "and nothing that came after the fault"
    );
}

#[test]
fn a_server_that_is_killed_between_messages_has_a_dump_without_a_message_and_without_registers() {
    let mut world = World::booted();
    world.exit(Exit::Cpuid(5));
    order(&mut world, &[Supervise::Kill(CPUID)]);
    assert_eq!(message(&mut world), None);
    let registers = part(
        &mut world,
        CPUID,
        1,
        |part| matches!(part, DumpPart::Registers(registers) if registers.iter().all(|r| *r == 0)),
    );
    assert_eq!(registers, Some(true));
}

#[test]
fn a_server_that_has_broken_no_rule_has_no_dump() {
    let mut world = World::booted();
    for id in [MSR, ServerId::nth(30), ServerId::nth(31)] {
        assert_eq!(part(&mut world, id, 0, |_| ()), None);
    }
}
