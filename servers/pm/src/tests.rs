//! Power management as a guest sees it.

mod succession;

use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, PortExit};
use atoll_protocol::units::Ticks;
use atoll_sdk::harness::{Answer, Harness, MACHINE};

use super::*;

extern crate std;

const SETUP: Setup<'static> = Setup {
    lines: &[9],
    peers: &[],
    options: "",
};

fn start() -> Harness<PmServer> {
    Harness::start(&MACHINE, &SETUP).0
}

fn out(server: &mut Harness<PmServer>, port: u16, size: u8, value: u32) -> Answer {
    server.deliver(Body::PortWrite(Fixed(PortExit {
        port,
        size,
        value,
        count: 1,
        ..PortExit::default()
    })))
}

fn input(server: &mut Harness<PmServer>, port: u16, size: u8) -> u64 {
    server
        .deliver(Body::PortRead(Fixed(PortExit {
            port,
            size,
            count: 1,
            ..PortExit::default()
        })))
        .value()
}

fn stops(answer: &Answer) -> Vec<Stop> {
    answer
        .effects()
        .iter()
        .filter_map(|effect| {
            if let Effect::Stop(why) = effect {
                Some(*why)
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn sleep_type_zero_switches_the_power_off_and_no_other_does() {
    let mut server = start();
    assert_eq!(stops(&out(&mut server, 0x604, 2, 0x2401)), []);
    assert_eq!(stops(&out(&mut server, 0x604, 2, 0x2001)), [Stop::PowerOff]);
    assert_eq!(stops(&out(&mut start(), 0x605, 1, 0x20)), [Stop::PowerOff]);
    assert_eq!(
        input(&mut server, 0x604, 2) & 0x2001,
        1,
        "SLP_EN reads as zero, SCI_EN stays"
    );
}

#[test]
fn all_ways_to_reset_reset() {
    for (port, value) in [(0xcf9, 0x06), (0xcf9, 0x0e), (0x64, 0xfe), (0x92, 0x03)] {
        assert_eq!(stops(&out(&mut start(), port, 1, value)), [Stop::Reset]);
    }
    assert_eq!(stops(&out(&mut start(), 0xcf9, 1, 0x02)), []);
    assert_eq!(stops(&out(&mut start(), 0x64, 1, 0x20)), []);
    assert_eq!(stops(&out(&mut start(), 0x92, 1, 0x02)), []);
}

#[test]
fn the_keyboard_controller_looks_absent_to_who_looks_once() {
    let mut server = start();
    assert_eq!(input(&mut server, 0x64, 1), 0xff);
    assert_eq!(input(&mut server, 0x60, 1), 0xff);
}

#[test]
fn a_loop_that_empties_the_output_buffer_of_the_keyboard_controller_ends() {
    let mut server = start();
    let reads = (0..1000).take_while(|_| input(&mut server, 0x64, 1) & 1 != 0);
    // Linux gives a buffer up that is not empty after 16 bytes, and with it the controller.
    assert_eq!(reads.count(), 64);
    assert_eq!(input(&mut server, 0x64, 1) & 3, 0, "both buffers are empty");
}

#[test]
fn the_address_line_a20_is_always_on() {
    let mut server = start();
    out(&mut server, 0x92, 1, 0);
    assert_eq!(input(&mut server, 0x92, 1), 2);
}

#[test]
fn the_timer_counts_3579545_cycles_a_second_and_wraps_at_24_bits() {
    let mut server = start();
    for seconds in 0..100_u64 {
        server.header.now = Ticks(seconds * 1_000_000_000);
        let expected = seconds * 3_579_545;
        let read = input(&mut server, 0x608, 4);
        assert!(
            read == expected % (1 << 24) || read == (expected - 1) % (1 << 24),
            "{read} after {seconds} s"
        );
        assert_eq!(input(&mut server, 0x608, 2), read & 0xffff);
        assert_eq!(input(&mut server, 0x60a, 1), read >> 16);
    }
}

#[test]
fn the_top_bits_change_sets_the_status_and_raises_the_sci_until_it_is_cleared() {
    let mut server = start();
    let line = |signal| Effect::Line(LineId::nth(9), signal);
    let armed = out(&mut server, 0x602, 2, 1);
    let at = armed.effects().iter().find_map(|effect| {
        if let Effect::Arm(_, at) = effect {
            Some(at.0)
        } else {
            None
        }
    });
    server.header.now = at.expect("the next change is waited for");
    assert!((2_343_000_000..2_344_000_000).contains(&server.header.now.0));
    assert_eq!(
        server.deliver(Body::Timer(CHANGE)).effects(),
        [line(Signal::Raise)]
    );
    assert_eq!(input(&mut server, 0x600, 2), 1);
    assert!(
        out(&mut server, 0x600, 2, 1)
            .effects()
            .contains(&line(Signal::Lower))
    );
    assert_eq!(input(&mut server, 0x600, 2), 0);
}

#[test]
fn a_string_instruction_cannot_make_an_answer_too_long() {
    let mut server = start();
    server.header.now = Ticks(3_000_000_000);
    let bytes: Vec<u8> = (0..2048).map(|place| (place & 1) as u8).collect();
    for port in [0x602, 0x604, 0xcf9, 0x64] {
        let exit = PortExit {
            port,
            size: 1,
            count: 2048,
            ..PortExit::default()
        };
        let answer = server.deliver(Body::PortWriteString(Fixed(exit), &bytes));
        assert!(answer.effects().len() < atoll_protocol::EFFECTS);
    }
}
