//! The server as a whole, message by message.

mod succession;

use std::vec::Vec;

use atoll_protocol::effect::{Effect, Signal};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, Machine, PortExit};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::harness::{Harness, MACHINE};
use proptest::prelude::*;

use crate::PitServer;
use crate::cycles::{Cycles, HERTZ};

struct Board {
    server: Harness<PitServer>,
    cycles: Cycles,
    armed: Option<u64>,
    pulses: Vec<u64>,
}

impl Board {
    fn new(tsc_khz: u64) -> Board {
        let setup = Setup {
            lines: &[0],
            ..Setup::default()
        };
        let (server, answer) = Harness::start(&Machine { tsc_khz, ..MACHINE }, &setup);
        assert_eq!(answer.effects(), []);
        Board {
            server,
            cycles: Cycles::new(tsc_khz),
            armed: None,
            pulses: Vec::new(),
        }
    }

    fn deliver(&mut self, body: Body<'_>) -> u64 {
        let answer = self.server.deliver(body);
        let mut value = 0;
        for effect in answer.effects() {
            match effect {
                Effect::Line(line, Signal::Pulse) if line.index() == 0 => {
                    self.pulses.push(self.server.header.now.0)
                }
                Effect::Arm(timer, Fixed(Ticks(at))) if timer.index() == 0 => self.armed = Some(at),
                Effect::Disarm(timer) if timer.index() == 0 => self.armed = None,
                Effect::Value(Fixed(read)) => value = read,
                other => panic!("{other:?}"),
            }
        }
        value
    }

    fn outb(&mut self, port: u16, value: u8) {
        self.deliver(Body::PortWrite(Fixed(PortExit {
            port,
            size: 1,
            value: value.into(),
            count: 1,
            ..PortExit::default()
        })));
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.deliver(Body::PortRead(Fixed(PortExit {
            port,
            size: 1,
            count: 1,
            ..PortExit::default()
        }))) as u8
    }

    fn run_until(&mut self, time: u64, late: u64) {
        while let Some(at) = self.armed.filter(|at| *at + late <= time) {
            self.armed = None;
            self.server.header.now = Ticks(self.server.header.now.0.max(at + late));
            self.deliver(Body::Timer(TimerId::nth(0)));
        }
        self.server.header.now = Ticks(time);
    }

    fn program(&mut self, channel: u8, mode: u8, count: u16) {
        self.outb(0x43, channel << 6 | 0x30 | mode << 1);
        for byte in count.to_le_bytes() {
            self.outb(0x40 + u16::from(channel), byte);
        }
    }
}

#[test]
fn linux_times_the_cpu_with_counter_2_in_mode_0() {
    // pit_calibrate_tsc(): 10 ms, polling the output in port 0x61.
    let mut board = Board::new(2_894_571);
    board.run_until(123_456_789, 0);
    let control = board.inb(0x61);
    board.outb(0x61, control & !0x02 | 0x01);
    let latch = (HERTZ / 100) as u16;
    board.program(2, 0, latch);
    let start = board.server.header.now.0;
    let cycle = board.cycles.at(start);
    let end = board.cycles.tick(cycle + 1 + u64::from(latch));
    board.run_until(end - 1, 0);
    assert_eq!(board.inb(0x61) & 0x20, 0);
    board.run_until(end, 0);
    assert_eq!(board.inb(0x61) & 0x20, 0x20);
    let khz = (end - start) / 10;
    assert!(khz.abs_diff(2_894_571) < 2_894_571 / 5000, "{khz}");
}

#[test]
fn linux_quick_calibration_sees_the_high_byte_fall() {
    // quick_pit_calibrate(): mode 0, 0xffff, reads low and high byte in turn.
    let mut board = Board::new(1_000_000);
    board.outb(0x61, 1);
    board.program(2, 0, 0xffff);
    let first = board.cycles.at(board.server.header.now.0) + 1;
    for passed in [0_u64, 1, 255, 256, 5000, 65_535] {
        board.run_until(board.cycles.tick(first + passed), 0);
        let value = 0xffff - passed as u16;
        assert_eq!([board.inb(0x42), board.inb(0x42)], value.to_le_bytes());
    }
}

#[test]
fn the_gate_and_speaker_bits_are_read_back_and_the_refresh_bit_toggles() {
    let mut board = Board::new(1_000_000);
    board.outb(0x61, 0xff);
    assert_eq!(board.inb(0x61) & 0xcf, 0x0f);
    let toggles = (0..100).map(|n| {
        board.run_until(n * 16_000, 0);
        board.inb(0x61) & 0x10
    });
    let seen: Vec<u8> = toggles.collect();
    assert!(seen.windows(2).filter(|pair| pair[0] != pair[1]).count() > 50);
}

#[test]
fn a_one_shot_raises_its_line_once() {
    let mut board = Board::new(1_000_000);
    board.program(0, 0, 1000);
    board.run_until(1_000_000_000, 0);
    assert_eq!(board.pulses, [board.cycles.tick(1001)]);
    board.program(0, 4, 1000);
    board.run_until(2_000_000_000, 0);
    assert_eq!(board.pulses.len(), 2);
}

#[test]
fn a_control_word_stops_the_interrupts() {
    let mut board = Board::new(1_000_000);
    board.program(0, 2, 11_932);
    board.run_until(15_000_000, 0);
    board.outb(0x43, 0x30);
    assert_eq!(board.armed, None);
    board.run_until(100_000_000, 0);
    assert_eq!(board.pulses.len(), 1);
}

#[test]
fn an_edge_that_has_passed_before_the_counter_is_written_again_is_not_lost() {
    let mut board = Board::new(1_000_000);
    board.program(0, 0, 1000);
    board.server.header.now = Ticks(900_000);
    board.program(0, 0, 2000);
    assert_eq!(board.pulses, [900_000]);
    board.deliver(Body::Timer(TimerId::nth(0)));
    assert_eq!(
        board.pulses.len(),
        1,
        "the old expiry comes late and finds nothing"
    );
    board.run_until(10_000_000, 0);
    assert_eq!(board.pulses.len(), 2);
}

#[test]
fn missed_edges_become_one_interrupt() {
    let mut board = Board::new(1_000_000);
    board.program(0, 2, 1193);
    board.server.header.now = Ticks(10_500_000);
    board.armed = None;
    board.deliver(Body::Timer(TimerId::nth(0)));
    assert_eq!(board.pulses.len(), 1);
    let cycle = board.cycles.at(10_500_000);
    let next = 1 + ((cycle - 1) / 1193 + 1) * 1193;
    assert_eq!(board.armed, Some(board.cycles.tick(next)));
}

#[test]
fn the_shortest_period_does_not_keep_the_host_busy() {
    let mut board = Board::new(1_000_000);
    board.program(0, 2, 2);
    board.run_until(1_000_000, 0);
    assert!(board.pulses.len() <= 50, "{}", board.pulses.len());
}

#[test]
fn read_back_latches_several_counters_at_once() {
    let mut board = Board::new(1_000_000);
    board.program(0, 2, 1000);
    board.program(1, 2, 18);
    board.run_until(board.cycles.tick(11), 0);
    board.outb(0x43, 0xc6);
    board.run_until(1_000_000, 0);
    assert_eq!(
        [board.inb(0x40), board.inb(0x40), board.inb(0x40)],
        [0xb4, 0xde, 0x03]
    );
    assert_eq!(
        [board.inb(0x41), board.inb(0x41), board.inb(0x41)],
        [0xb4, 8, 0]
    );
}

#[test]
fn a_manifest_without_a_line_is_refused() {
    use atoll_sdk::{Refuse, Server};
    assert!(matches!(
        PitServer::start(&MACHINE, &Setup::default()),
        Err(Refuse::MissingLine)
    ));
}

proptest! {
    #[test]
    fn a_periodic_interrupt_never_drifts(
        mode in 2_u8..4, count in 100_u16.., tsc_khz in 1_000_000_u64..5_000_000, late in 0_u64..20_000, start in 0_u64..1 << 50,
    ) {
        let mut board = Board::new(tsc_khz);
        board.server.header.now = Ticks(start);
        board.program(0, mode, count);
        let first = board.cycles.at(start) + 1;
        let end = board.cycles.tick(first + 100 * u64::from(count)) + late;
        board.run_until(end, late);
        let expected: Vec<u64> = (1..=100).map(|n| board.cycles.tick(first + n * u64::from(count)) + late).collect();
        prop_assert_eq!(&board.pulses, &expected);
    }
}
