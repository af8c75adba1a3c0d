//! Periods, and what is left of them when the timer is noticed late.

extern crate std;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, PortExit};

use super::*;

const MILLISECOND: u64 = 1_000_000;

fn start() -> Harness<MyServer> {
    Harness::start(&MACHINE, &Setup { lines: &[0], ..Setup::default() }).0
}

fn set(server: &mut Harness<MyServer>, milliseconds: u32) -> Answer {
    server.deliver(Body::PortWrite(Fixed(PortExit { size: 1, value: milliseconds, count: 1, ..PortExit::default() })))
}

fn armed(answer: &Answer) -> Option<u64> {
    answer.effects().iter().find_map(|effect| if let Effect::Arm(TICK, at) = effect { Some(at.0.0) } else { None })
}

#[test]
fn each_period_ends_with_an_edge_and_late_ones_do_not_add_up() {
    let mut server = start();
    assert_eq!(armed(&set(&mut server, 5)), Some(5 * MILLISECOND));
    server.header.now = Ticks(6 * MILLISECOND);
    let answer = server.deliver(Body::Timer(TICK));
    assert_eq!(armed(&answer), Some(10 * MILLISECOND));
    assert!(answer.effects().contains(&Effect::Line(LineId(0), Signal::Pulse)));
    let read = PortExit { size: 1, count: 1, ..PortExit::default() };
    assert_eq!(server.deliver(Body::PortRead(Fixed(read))).value(), 1);
}

#[test]
fn zero_stops_it_also_if_the_timer_has_expired_already() {
    let mut server = start();
    set(&mut server, 5);
    assert!(set(&mut server, 0).effects().contains(&Effect::Disarm(TICK)));
    assert_eq!(server.deliver(Body::Timer(TICK)).effects(), []);
}
