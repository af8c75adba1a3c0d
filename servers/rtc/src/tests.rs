//! The clock as Linux's drivers use it.

mod succession;

use atoll_protocol::effect::{Effect, Signal};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, PortExit};
use atoll_protocol::units::{LineId, Ticks, TimerId};
use atoll_sdk::harness::{Answer, Harness, MACHINE};

use super::*;
use crate::state::{ALARM, BINARY, PERIODIC};

extern crate std;

const SECOND: u64 = 1_000_000_000;

fn start() -> Harness<RtcServer> {
    Harness::start(
        &MACHINE,
        &Setup {
            lines: &[8],
            ..Setup::default()
        },
    )
    .0
}

fn out(server: &mut Harness<RtcServer>, port: u16, value: u8) -> Answer {
    let exit = PortExit {
        port,
        size: 1,
        value: value.into(),
        count: 1,
        ..PortExit::default()
    };
    server.deliver(Body::PortWrite(Fixed(exit)))
}

fn get(server: &mut Harness<RtcServer>, location: u8) -> u8 {
    out(server, 0x70, location | 0x80);
    server
        .deliver(Body::PortRead(Fixed(PortExit {
            port: 0x71,
            size: 1,
            count: 1,
            ..PortExit::default()
        })))
        .value() as u8
}

fn set(server: &mut Harness<RtcServer>, location: u8, value: u8) -> Answer {
    out(server, 0x70, location);
    out(server, 0x71, value)
}

fn time(server: &mut Harness<RtcServer>) -> [u8; 7] {
    [0x32, 0x09, 0x08, 0x07, 0x04, 0x02, 0x00].map(|location| get(server, location))
}

fn armed(answer: &Answer, timer: u8) -> Option<u64> {
    answer.effects().iter().find_map(|effect| match effect {
        Effect::Arm(which, at) if which.number() == timer => Some(at.0.0),
        _ => None,
    })
}

#[test]
fn a_wide_access_at_the_last_port_reaches_no_other() {
    let mut server = start();
    out(&mut server, 0x70, 0x0b);
    let wide = |value| PortExit {
        port: 0x71,
        size: 2,
        value,
        count: 1,
        ..PortExit::default()
    };
    server.deliver(Body::PortWrite(Fixed(wide(0x0a02))));
    assert_eq!(
        server.deliver(Body::PortRead(Fixed(wide(0)))).value(),
        0xff02,
        "the index is still that of register B"
    );
}

#[test]
fn it_shows_the_hosts_wall_clock_and_goes_on_with_the_counter() {
    let mut server = start();
    assert_eq!(
        time(&mut server),
        [0x20, 0x20, 0x01, 0x01, 0x00, 0x00, 0x00]
    );
    assert_eq!(get(&mut server, 0x06), 4, "a Wednesday");
    server.header.now = Ticks(45_296 * SECOND);
    assert_eq!(
        time(&mut server),
        [0x20, 0x20, 0x01, 0x01, 0x12, 0x34, 0x56]
    );
    assert_eq!(get(&mut server, 0x0d), 0x80);
    set(&mut server, 0x0b, BINARY | HOURS_24);
    assert_eq!(time(&mut server), [20, 20, 1, 1, 12, 34, 56]);
}

#[test]
fn an_update_shows_for_244_microseconds_before_each_second_and_never_else() {
    let mut server = start();
    for (at, shows) in [
        (0, false),
        (SECOND - 244_001, false),
        (SECOND - 244_000, true),
        (SECOND - 1, true),
        (SECOND, false),
    ] {
        server.header.now = Ticks(7 * SECOND + at);
        assert_eq!(get(&mut server, 0x0a) & UPDATING != 0, shows, "at {at}");
    }
}

#[test]
fn the_time_can_be_set_as_linux_does_it() {
    let mut server = start();
    server.header.now = Ticks(3 * SECOND / 2);
    let (b, a) = (get(&mut server, 0x0b), get(&mut server, 0x0a));
    set(&mut server, 0x0b, b | SET);
    set(&mut server, 0x0a, a | 0x70);
    for (location, value) in [
        (0x32, 0x19),
        (0x09, 0x99),
        (0x08, 0x12),
        (0x07, 0x31),
        (0x04, 0x23),
        (0x02, 0x59),
        (0x00, 0x59),
    ] {
        set(&mut server, location, value);
    }
    server.advance(Ticks(10 * SECOND));
    assert_eq!(get(&mut server, 0x00), 0x59, "it stands still");
    set(&mut server, 0x0b, b);
    set(&mut server, 0x0a, a);
    server.advance(Ticks(SECOND / 2 - 1));
    assert_eq!(
        time(&mut server),
        [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]
    );
    server.advance(Ticks(1));
    assert_eq!(
        time(&mut server),
        [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]
    );
}

#[test]
fn the_update_interrupt_comes_each_second_that_register_c_is_read() {
    let mut server = start();
    server.header.now = Ticks(SECOND / 4);
    let mut at =
        armed(&set(&mut server, 0x0b, UPDATE | HOURS_24), 0).expect("waits for the second");
    for second in 1..5 {
        assert_eq!(at, second * SECOND);
        server.header.now = Ticks(at);
        let raised = server.deliver(Body::Timer(TimerId::nth(0)));
        assert_eq!(
            raised.effects(),
            [Effect::Line(LineId::nth(8), Signal::Raise)]
        );
        out(&mut server, 0x70, 0x0c);
        let exit = PortExit {
            port: 0x71,
            size: 1,
            count: 1,
            ..PortExit::default()
        };
        let read = server.deliver(Body::PortRead(Fixed(exit)));
        // The periodic flag is set as well: it follows the rate whether or not its interrupt is enabled.
        assert_eq!(read.value() as u8 & !PERIODIC, PENDING | UPDATE);
        assert!(
            read.effects()
                .contains(&Effect::Line(LineId::nth(8), Signal::Lower))
        );
        at = armed(&read, 0).expect("waits for the next second");
    }
}

#[test]
fn the_alarm_goes_off_at_its_time_and_wildcards_match() {
    let mut server = start();
    for (location, value) in [(0x01, 0x30), (0x03, 0xff), (0x05, 0x05)] {
        set(&mut server, location, value);
    }
    let at = armed(&set(&mut server, 0x0b, ALARM | HOURS_24), 0);
    assert_eq!(at, Some((5 * 3600 + 30) * SECOND));
    server.header.now = Ticks((5 * 3600 + 30) * SECOND);
    server.deliver(Body::Timer(TimerId::nth(0)));
    assert_eq!(get(&mut server, 0x0c) & !PERIODIC, PENDING | ALARM | UPDATE);
    assert_eq!(get(&mut server, 0x0c), 0);
}

#[test]
fn the_periodic_interrupt_has_the_rate_of_register_a() {
    let mut server = start();
    let at = armed(&set(&mut server, 0x0b, PERIODIC | HOURS_24), 1).expect("waits for the period");
    assert_eq!(at, 976_563, "1024 Hz");
    server.header.now = Ticks(at);
    server.deliver(Body::Timer(TimerId::nth(1)));
    assert_eq!(get(&mut server, 0x0c), PENDING | PERIODIC);
}

#[test]
fn ram_keeps_what_is_written() {
    let mut server = start();
    for location in (0x0e..0x80).filter(|location| *location != 0x32) {
        set(&mut server, location, location ^ 0x5a);
    }
    for location in (0x0e..0x80).filter(|location| *location != 0x32) {
        assert_eq!(get(&mut server, location), location ^ 0x5a);
    }
}

#[test]
fn no_value_in_any_location_makes_it_fail_or_its_answer_too_long() {
    let mut server = start();
    let bytes: std::vec::Vec<u8> = (0..2048).map(|place| (place * 37 % 256) as u8).collect();
    for location in 0..0x80 {
        out(&mut server, 0x70, location);
        server.advance(Ticks(SECOND / 3));
        let exit = PortExit {
            port: 0x71,
            size: 1,
            count: 2048,
            ..PortExit::default()
        };
        let written = server.deliver(Body::PortWriteString(Fixed(exit), &bytes));
        assert!(written.effects().len() < atoll_protocol::EFFECTS);
        let read = server.deliver(Body::PortReadString(Fixed(exit)));
        assert!(read.effects().len() < atoll_protocol::EFFECTS);
        server.deliver(Body::Timer(TimerId::nth(0)));
    }
}

#[test]
fn a_period_that_has_passed_before_a_restart_interrupts_at_the_restart() {
    let mut server = start();
    set(&mut server, 0x0a, 0x26);
    let due = armed(&set(&mut server, 0x0b, PERIODIC | HOURS_24), 1);
    server.header.now = Ticks(due.expect("a period is under way"));
    // Its timer's expiry waits, and the kernel tells of the restart first.
    let answer = server.deliver(Body::Restarted(Reason::Killed, Fixed(Held::default())));
    assert!(
        answer
            .effects()
            .contains(&Effect::Line(LineId::nth(8), Signal::Raise)),
        "{:?}",
        answer.effects()
    );
}
