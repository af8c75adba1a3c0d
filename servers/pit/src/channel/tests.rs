//! A counter against one that is stepped cycle by cycle, and the data sheet's own waveforms.

use proptest::prelude::*;
use std::vec::Vec;

use super::Channel;

fn programmed(mode: u8, count: u16, gate: bool, now: u64) -> Channel {
    let mut channel = Channel::new(gate);
    channel.control(0x30 | mode << 1, now);
    for byte in count.to_le_bytes() {
        channel.write(byte, now);
    }
    channel
}

fn at(channel: &Channel, now: u64) -> (u32, bool) {
    let mut channel = *channel;
    channel.catch_up(now);
    (channel.value(now), channel.output(now))
}

fn wave(channel: &Channel, cycles: core::ops::Range<u64>) -> Vec<(u32, u8)> {
    cycles
        .map(|now| at(channel, now))
        .map(|(value, output)| (value, output.into()))
        .collect()
}

#[test]
fn mode_0_rises_one_cycle_after_its_count_has_passed_and_counts_on() {
    let channel = programmed(0, 4, true, 100);
    assert_eq!(
        wave(&channel, 101..108),
        [
            (4, 0),
            (3, 0),
            (2, 0),
            (1, 0),
            (0, 1),
            (0xffff, 1),
            (0xfffe, 1)
        ]
    );
    assert_eq!(channel.next_rise(100), Some(105));
    assert_eq!(channel.next_rise(105), None);
}

#[test]
fn mode_0_is_held_by_its_gate() {
    let mut channel = programmed(0, 4, false, 100);
    assert_eq!(at(&channel, 200), (4, false));
    channel.set_gate(true, 200);
    assert_eq!(at(&channel, 202), (2, false));
    channel.set_gate(false, 202);
    assert_eq!(at(&channel, 300), (2, false));
    channel.set_gate(true, 300);
    assert_eq!(at(&channel, 302), (0, true));
}

#[test]
fn mode_1_is_triggered_and_triggered_again_by_its_gate() {
    let mut channel = programmed(1, 3, false, 100);
    assert!(at(&channel, 150).1);
    channel.set_gate(true, 150);
    assert_eq!(
        wave(&channel, 150..155)
            .iter()
            .map(|(_, output)| *output)
            .collect::<Vec<_>>(),
        [1, 0, 0, 0, 1]
    );
    channel.set_gate(false, 152);
    channel.set_gate(true, 152);
    assert_eq!(
        wave(&channel, 153..157)
            .iter()
            .map(|(_, output)| *output)
            .collect::<Vec<_>>(),
        [0, 0, 0, 1]
    );
}

#[test]
fn mode_2_is_low_for_one_cycle_in_each_period() {
    let channel = programmed(2, 3, true, 100);
    assert_eq!(
        wave(&channel, 101..108),
        [(3, 1), (2, 1), (1, 0), (3, 1), (2, 1), (1, 0), (3, 1)]
    );
    assert_eq!(
        (
            channel.next_rise(100),
            channel.next_rise(104),
            channel.next_rise(106)
        ),
        (Some(104), Some(107), Some(107))
    );
}

#[test]
fn mode_3_halves_even_counts_and_gives_odd_ones_a_longer_first_half() {
    let even = programmed(3, 4, true, 100);
    assert_eq!(
        wave(&even, 101..109),
        [
            (4, 1),
            (2, 1),
            (4, 0),
            (2, 0),
            (4, 1),
            (2, 1),
            (4, 0),
            (2, 0)
        ]
    );
    let odd = programmed(3, 5, true, 100);
    assert_eq!(
        wave(&odd, 101..107),
        [(4, 1), (2, 1), (0, 1), (4, 0), (2, 0), (4, 1)]
    );
}

#[test]
fn mode_4_strobes_once() {
    let channel = programmed(4, 3, true, 100);
    let outputs: Vec<u8> = wave(&channel, 100..108)
        .iter()
        .map(|(_, output)| *output)
        .collect();
    assert_eq!(outputs, [1, 1, 1, 1, 0, 1, 1, 1]);
    assert_eq!(
        (channel.next_rise(100), channel.next_rise(105)),
        (Some(105), None)
    );
}

#[test]
fn mode_5_strobes_after_its_trigger() {
    let mut channel = programmed(5, 3, false, 100);
    assert!(at(&channel, 130).1);
    channel.set_gate(true, 130);
    let outputs: Vec<u8> = wave(&channel, 130..137)
        .iter()
        .map(|(_, output)| *output)
        .collect();
    assert_eq!(outputs, [1, 1, 1, 1, 0, 1, 1]);
}

#[test]
fn a_new_count_waits_for_the_end_of_the_period() {
    let mut channel = programmed(2, 10, true, 100);
    channel.write(3, 105);
    channel.write(0, 105);
    assert_eq!(at(&channel, 110).0, 1);
    assert_eq!(wave(&channel, 111..115), [(3, 1), (2, 1), (1, 0), (3, 1)]);
    channel.catch_up(106);
    assert_eq!(channel.next_rise(106), Some(111));
    channel.catch_up(111);
    assert_eq!(channel.next_rise(111), Some(114));
}

#[test]
fn a_new_square_wave_waits_for_the_end_of_the_half() {
    let mut channel = programmed(3, 10, true, 100);
    channel.write(4, 102);
    channel.write(0, 102);
    // High from 101 to 105, then the low half of the new wave.
    assert_eq!(
        wave(&channel, 104..111)
            .iter()
            .map(|(_, output)| *output)
            .collect::<Vec<_>>(),
        [1, 1, 0, 0, 1, 1, 0]
    );
    assert_eq!(channel.next_rise(102), Some(108));
}

#[test]
fn the_first_byte_of_a_count_stops_mode_0() {
    let mut channel = programmed(0, 4, true, 100);
    channel.write(9, 110);
    assert!(!at(&channel, 120).1);
    assert_eq!(channel.next_rise(110), None);
    channel.write(0, 130);
    assert_eq!(channel.next_rise(130), Some(140));
}

#[test]
fn a_count_of_zero_is_the_largest() {
    assert_eq!(programmed(2, 0, true, 0).next_rise(0), Some(0x1_0001));
    let mut decimal = Channel::new(true);
    decimal.control(0x35, 0);
    decimal.write(0, 0);
    decimal.write(0, 0);
    assert_eq!(decimal.next_rise(0), Some(10_001));
}

#[test]
fn decimal_counts_are_written_and_read_in_digits() {
    let mut channel = Channel::new(true);
    channel.control(0x31, 0);
    channel.write(0x34, 0);
    channel.write(0x12, 0);
    assert_eq!((channel.read(1), channel.read(1)), (0x34, 0x12));
    assert_eq!((channel.read(236), channel.read(236)), (0x99, 0x09));
    assert_eq!((channel.read(1236), channel.read(1236)), (0x99, 0x99));
}

#[test]
fn a_latch_holds_until_it_is_read_and_a_second_one_is_ignored() {
    let mut channel = programmed(2, 0x1234, true, 0);
    channel.control(0x00, 0x35);
    channel.control(0x00, 0x100);
    assert_eq!((channel.read(0x200), channel.read(0x300)), (0x00, 0x12));
    let live = at(&channel, 0x400).0;
    assert_eq!(
        (channel.read(0x400), channel.read(0x400)),
        (live as u8, (live >> 8) as u8)
    );
}

#[test]
fn the_status_shows_output_null_count_access_mode_and_base() {
    let mut channel = Channel::new(true);
    channel.control(0x34, 10);
    channel.latch_status(10);
    assert_eq!(channel.read(10), 0x80 | 0x40 | 0x34);
    channel.write(3, 10);
    channel.write(0, 10);
    channel.latch_status(10);
    assert_eq!(channel.read(10), 0x80 | 0x40 | 0x34);
    channel.latch_status(13);
    channel.latch_count(13);
    assert_eq!(
        [channel.read(20), channel.read(20), channel.read(20)],
        [0x34, 1, 0],
        "status first"
    );
}

/// What the data sheet describes, stepped one cycle at a time.
#[derive(Debug)]
struct Stepped {
    mode: u8,
    initial: u32,
    element: u32,
    output: bool,
    load: bool,
    done: bool,
}

impl Stepped {
    fn new(mode: u8, count: u16) -> Stepped {
        let initial = if count == 0 { 0x1_0000 } else { count.into() };
        Stepped {
            mode,
            initial,
            element: 0,
            output: mode != 0,
            load: true,
            done: false,
        }
    }

    fn step(&mut self) {
        if self.load {
            self.load = false;
            self.element = if self.mode == 3 {
                self.initial & !1
            } else {
                self.initial
            };
            return;
        }
        match self.mode {
            0 => {
                self.element = self.element.checked_sub(1).unwrap_or(0xffff);
                self.output |= self.element == 0;
            }
            2 => {
                self.element = if self.element == 1 {
                    self.initial
                } else {
                    self.element - 1
                };
                self.output = self.element != 1;
            }
            3 => {
                // An odd count's high half ends one cycle after the count has expired, the other halves with it.
                let last = if self.output && self.initial & 1 != 0 {
                    0
                } else {
                    2
                };
                if self.element == last {
                    self.output = !self.output;
                    self.element = self.initial & !1;
                } else {
                    self.element -= 2;
                }
            }
            _ => {
                self.element = self.element.checked_sub(1).unwrap_or(0xffff);
                self.output = self.done || self.element != 0;
                self.done |= self.element == 0;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_counter_is_what_it_would_be_if_it_were_stepped(
        mode in prop::sample::select(&[0_u8, 2, 3, 4][..]), count in 2_u16..300, start in 1_u64..1 << 40,
    ) {
        let channel = programmed(mode, count, true, start);
        let mut stepped = Stepped::new(mode, count);
        let mut before = channel.output(start);
        for now in start + 1..start + 1000 {
            stepped.step();
            prop_assert_eq!(at(&channel, now), (stepped.element % 0x1_0000, stepped.output), "cycle {}", now - start);
            let rises = channel.next_rise(now - 1) == Some(now);
            prop_assert_eq!(rises, stepped.output && !before, "edge at {}", now - start);
            before = stepped.output;
        }
    }

    #[test]
    fn nothing_that_a_guest_does_stops_the_counter_from_answering(
        steps in prop::collection::vec((0_u8..6, any::<u8>(), 0_u64..100_000), 0..100),
    ) {
        let (mut channel, mut now) = (Channel::new(false), 0);
        for (what, value, pass) in steps {
            now += pass;
            match what {
                0 => channel.control(value & 0x3f, now),
                1 | 2 => channel.write(value, now),
                3 => channel.set_gate(value & 1 != 0, now),
                4 => channel.latch_status(now),
                _ => { channel.read(now); }
            }
            channel.catch_up(now);
            prop_assert!(channel.value(now) < 0x1_0000);
            prop_assert!(channel.next_rise(now).is_none_or(|rise| rise > now));
        }
    }
}
