//! From a line to an offer, to service, to its end.

extern crate std;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, LineChange, PortExit};
use atoll_sdk::protocol::units::LineId;

use super::*;

fn out(server: &mut Harness<MyServer>, port: u16, value: u32) -> Answer {
    server.deliver(Body::PortWrite(Fixed(PortExit { port, size: 1, value, count: 1, ..PortExit::default() })))
}

/// A chip whose line 0 has vector 0x20, with nothing masked.
fn start() -> Harness<MyServer> {
    let (mut server, _) = Harness::start(&MACHINE, &Setup::default());
    for (port, value) in [(COMMAND, 0x11), (DATA, 0x20), (DATA, 4), (DATA, 1), (DATA, 0)] {
        out(&mut server, port, value);
    }
    server
}

fn pulse(server: &mut Harness<MyServer>, line: u8) -> Answer {
    server.deliver(Body::Line(LineChange { line: LineId(line), level: true, rose: true }))
}

/// The vector that an answer offers; `Some(None)` if it withdraws an offer.
fn offered(answer: &Answer) -> Option<Option<u8>> {
    answer.effects().iter().find_map(|effect| match effect {
        Effect::Offer(offer) => Some((offer.0.kind == Offer::EXTERNAL).then_some(offer.0.vector)),
        _ => None,
    })
}

/// The CPU takes it, and the guest ends it.
fn take(server: &mut Harness<MyServer>, vector: u8) {
    server.header.accepted = vector.into();
    server.deliver(Body::Accepted);
    assert_eq!(server.state().service, 1 << (vector - 0x20));
}

#[test]
fn a_line_that_rises_is_offered_and_can_be_taken_once() {
    let mut server = start();
    assert_eq!(offered(&pulse(&mut server, 4)), Some(Some(0x24)));
    take(&mut server, 0x24);
    assert_eq!(offered(&out(&mut server, COMMAND, 0x20)), None, "nothing more is pending");
    assert_eq!(server.state().service, 0);
}

#[test]
fn a_lower_line_replaces_what_is_on_offer_and_a_higher_one_waits_for_the_end_of_service() {
    let mut server = start();
    pulse(&mut server, 4);
    assert_eq!(offered(&pulse(&mut server, 1)), Some(Some(0x21)));
    take(&mut server, 0x21);
    assert_eq!(offered(&out(&mut server, COMMAND, 0x20)), Some(Some(0x24)));
}

#[test]
fn a_mask_withdraws_the_offer() {
    let mut server = start();
    pulse(&mut server, 4);
    assert_eq!(offered(&out(&mut server, DATA, 0x10)), Some(None));
    assert_eq!(offered(&out(&mut server, DATA, 0)), Some(Some(0x24)));
}
