//! What a guest reads, what stops it, and what another server is told.

extern crate std;

use std::vec::Vec;

use atoll_sdk::harness::{Answer, Harness, MACHINE};
use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::fixed::Fixed;
use atoll_sdk::protocol::message::{Body, PortExit};
use atoll_sdk::protocol::units::Ticks;

use super::*;

fn start() -> Harness<MyServer> {
    Harness::start(&MACHINE, &Setup::default()).0
}

fn out(server: &mut Harness<MyServer>, port: u16, size: u8, value: u32) -> Answer {
    server.deliver(Body::PortWrite(Fixed(PortExit { port, size, value, count: 1, ..PortExit::default() })))
}

fn input(server: &mut Harness<MyServer>, port: u16, size: u8) -> u64 {
    server.deliver(Body::PortRead(Fixed(PortExit { port, size, count: 1, ..PortExit::default() }))).value()
}

fn stops(answer: &Answer) -> Vec<Stop> {
    answer.effects().iter().filter_map(|effect| if let Effect::Stop(why) = effect { Some(*why) } else { None }).collect()
}

#[test]
fn the_timer_counts_by_the_clock_and_wraps() {
    let mut server = start();
    server.advance(Ticks(1_000_000_000));
    assert_eq!(input(&mut server, PM_TIMER, 4), HERTZ);
    server.advance(Ticks(4_000_000_000));
    assert_eq!(input(&mut server, PM_TIMER, 4), HERTZ * 5 & TIMER_MASK);
}

#[test]
fn the_guest_switches_the_power_off_and_resets_itself() {
    assert_eq!(stops(&out(&mut start(), PM1_CONTROL, 2, SLEEP.into())), [Stop::PowerOff]);
    assert_eq!(stops(&out(&mut start(), PM1_CONTROL, 2, (SLEEP | 1 << 10).into())), []);
    assert_eq!(stops(&out(&mut start(), RESET_CONTROL, 1, 0x06)), [Stop::Reset]);
    assert_eq!(stops(&out(&mut start(), KEYBOARD, 1, PULSE_RESET)), [Stop::Reset]);
}

#[test]
fn a_successor_goes_on_with_the_registers_but_not_where_the_guest_waits_for_the_timer() {
    let mut server = start();
    out(&mut server, PM1_ENABLE, 2, 0x120);
    let state = server.export().expect("it exports");
    let mut next = Harness::<MyServer>::import(&MACHINE, &Setup::default(), &state, false);
    assert_eq!((input(&mut next, PM1_ENABLE, 2), input(&mut next, PM1_CONTROL, 2)), (0x120, 1));
    out(&mut next, PM1_ENABLE, 2, TIMER_EVENT.into());
    let state = next.export().expect("it exports");
    let refused = std::panic::catch_unwind(|| Harness::<MyServer>::import(&MACHINE, &Setup::default(), &state, false));
    assert!(refused.is_err(), "it takes something away from the guest");
}
