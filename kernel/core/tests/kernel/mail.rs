//! Mail: first in, first out between two servers, never more on the way than the credit, results in places of their own.

use atoll_core::run::{HostEvent, Turn};
use atoll_protocol::effect::{Effect, Fifo};
use atoll_protocol::fault::Reason;
use atoll_protocol::message::Body;
use atoll_protocol::units::{HostIrq, ServerId};

use crate::cast::{COM1, CONSOLE, CONTROL, SERIAL};
use crate::exits::Exit;
use crate::machine::{Act, TSC_KHZ};
use crate::script::message;
use crate::world::World;

/// The console's device.
const FIFO: Fifo = Fifo {
    status: COM1 + 5,
    mask: 0x20,
    data: COM1,
    burst: 2,
};

/// The console is activated, and answers with these effects.
fn console(world: &mut World, effects: &[Effect<'_>]) {
    world.on(CONSOLE, effects);
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    world.pass();
}

#[test]
fn mail_arrives_in_the_order_in_which_it_was_sent() {
    let mut world = World::booted();
    let mails: Vec<[u8; 1]> = (0..4).map(|number| [number]).collect();
    let effects: Vec<Effect<'_>> = mails
        .iter()
        .map(|mail| Effect::Mail(CONSOLE, mail))
        .collect();
    world.on(SERIAL, &[&effects[..], &[Effect::Done]].concat());
    world.exit(Exit::Out(COM1, 1, 0));
    world.pass();
    let arrived: Vec<u8> = world
        .got(CONSOLE)
        .iter()
        .map(|bytes| {
            if let Body::Mail(SERIAL, mail) = message(bytes).body {
                mail[0]
            } else {
                0xff
            }
        })
        .collect();
    assert_eq!(arrived, [0, 1, 2, 3]);
}

#[test]
fn whoever_exceeds_its_credit_is_at_fault_and_sends_nothing() {
    let mut world = World::booted();
    let mails = [Effect::Mail(CONSOLE, b"x"); 5];
    world.on(SERIAL, &[&mails[..], &[Effect::Done]].concat());
    let (before, after) = world.around(Exit::Out(COM1, 1, 0));
    assert_eq!(before, after);
    world.assert_fault(SERIAL, Reason::Credit);
    assert!(world.got(CONSOLE).is_empty());
}

#[test]
fn mail_that_was_delivered_gives_its_credit_back() {
    let mut world = World::booted();
    for _ in 0..10 {
        world.on(
            SERIAL,
            &[&[Effect::Mail(CONSOLE, b"x"); 4][..], &[Effect::Done]].concat(),
        );
        world.exit(Exit::Out(COM1, 1, 0));
        assert_eq!(
            world.kernel.state.servers[ServerId::nth(10)].undelivered_to(CONSOLE),
            4
        );
        world.pass();
        assert_eq!(
            world.kernel.state.servers[ServerId::nth(10)].undelivered_to(CONSOLE),
            0
        );
    }
    world.assert_no_fault();
}

#[test]
fn mail_that_lies_in_the_mailbox_counts_against_the_credit() {
    let mut world = World::booted();
    world.on(
        SERIAL,
        &[&[Effect::Mail(CONSOLE, b"x"); 4][..], &[Effect::Done]].concat(),
    );
    world.exit(Exit::Out(COM1, 1, 0));
    world.on(
        SERIAL,
        &[Effect::Mail(CONSOLE, b"one too many"), Effect::Done],
    );
    world.exit(Exit::Out(COM1, 1, 0));
    world.assert_fault(SERIAL, Reason::Credit);
}

#[test]
fn mail_to_a_faulted_server_is_lost_and_costs_nothing() {
    let mut world = World::booted();
    world.on(
        SERIAL,
        &[&[Effect::Mail(CONSOLE, b"x"); 4][..], &[Effect::Done]].concat(),
    );
    world.exit(Exit::Out(COM1, 1, 0));
    world.ends(CONSOLE, atoll_core::machine::Outcome::Fault(Reason::Hang));
    world.assert_fault(CONSOLE, Reason::Hang);
    for _ in 0..10 {
        world.on(
            SERIAL,
            &[Effect::Mail(CONSOLE, b"into the void"), Effect::Done],
        );
        world.exit(Exit::Out(COM1, 1, 0));
    }
    world.assert_fault(CONSOLE, Reason::Hang);
    assert_eq!(
        world.kernel.state.servers[ServerId::nth(11)]
            .letters()
            .count(),
        4
    );
}

#[test]
fn mail_without_a_grant_is_a_fault() {
    let mut world = World::booted();
    world.on(SERIAL, &[Effect::Mail(CONTROL, b"psst"), Effect::Done]);
    world.exit(Exit::Out(COM1, 1, 0));
    world.assert_fault(SERIAL, Reason::NotGranted);
}

#[test]
fn a_mail_is_at_most_256_bytes() {
    for (length, fault) in [(256, None), (257, Some(Reason::BadValue))] {
        let mut world = World::booted();
        world.on(
            SERIAL,
            &[Effect::Mail(CONSOLE, &vec![7; length]), Effect::Done],
        );
        world.exit(Exit::Out(COM1, 1, 0));
        assert_eq!(world.fault(SERIAL).map(|report| report.reason), fault);
    }
}

#[test]
fn the_value_of_a_port_comes_as_a_message() {
    let mut world = World::booted();
    world.kernel.state.machine.input = vec![0x60];
    console(&mut world, &[Effect::PortIn(COM1 + 5, 1)]);
    world.last(CONSOLE, |message| {
        assert_eq!(message.body, Body::PortValue(0x60))
    });
    assert_eq!(world.kernel.state.servers[ServerId::nth(11)].results, 0);
}

#[test]
fn a_fill_looks_at_the_status_before_each_burst_and_says_how_many_bytes_went_out() {
    let mut world = World::booted();
    world.kernel.state.machine.journal.clear();
    world.kernel.state.machine.input = vec![0x20, 0x60, 0x40];
    console(&mut world, &[Effect::Fill(FIFO, b"hello")]);
    world.last(CONSOLE, |message| assert_eq!(message.body, Body::Filled(4)));
    let out = |byte| Act::PortOut(COM1, 1, u32::from(byte));
    let look = Act::PortIn(COM1 + 5, 1);
    let expected = [
        look,
        out(b'h'),
        out(b'e'),
        look,
        out(b'l'),
        out(b'l'),
        look,
        Act::Unmask(HostIrq::nth(4)),
    ];
    assert_eq!(world.kernel.state.machine.journal, expected);
}

#[test]
fn a_drain_reads_while_the_device_has_bytes() {
    let mut world = World::booted();
    world.kernel.state.machine.input = vec![0x20, b'a', 0x20, b'b', 0x00];
    console(&mut world, &[Effect::Drain(FIFO, 16)]);
    world.last(CONSOLE, |message| {
        assert_eq!(message.body, Body::Drained(b"ab"))
    });
}

#[test]
fn more_results_than_places_are_refused_before_a_port_is_touched() {
    let mut world = World::booted();
    let before = world.observe();
    console(&mut world, &[Effect::PortIn(COM1 + 5, 1); 9]);
    world.assert_fault(CONSOLE, Reason::Credit);
    assert_eq!(before, world.observe());
}

#[test]
fn two_servers_that_mail_each_other_do_not_keep_the_guest_from_running() {
    let mut world = World::booted();
    for _ in 0..10_000 {
        world.on(SERIAL, &[Effect::Mail(CONSOLE, b"ping")]);
        world.on(CONSOLE, &[Effect::Mail(SERIAL, b"pong")]);
    }
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    for pass in 1..=10 {
        assert_eq!(world.kernel.pass(), Turn::Enter);
        assert!(world.servers().seen.len() <= 8 * pass);
        let machine = &world.kernel.state.machine;
        assert!(
            machine.armed.0 <= machine.clock + TSC_KHZ / 50,
            "nor do they wait until it exits by itself"
        );
        world.exit(Exit::Code(atoll_core::vcpu::vmcb::exit::INTR));
    }
    world.assert_no_fault();
}

#[test]
fn a_faulted_servers_mail_and_interrupts_stay_where_they_are() {
    let mut world = World::booted();
    world.ends(CONSOLE, atoll_core::machine::Outcome::Fault(Reason::Hang));
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    world.assert_fault(CONSOLE, Reason::Hang);
    let got = world.got(CONSOLE).len();
    let journal = world.kernel.state.machine.journal.len();
    world.kernel.host_event(HostEvent::Irq(HostIrq::nth(4)));
    world.pass();
    assert_eq!(world.got(CONSOLE).len(), got, "it gets nothing more");
    assert_eq!(
        world.kernel.state.machine.journal.len(),
        journal,
        "its interrupt stays masked"
    );
}
