//! The port as its data sheet, Linux's 8250 driver and the console see it.

mod succession;

use std::vec::Vec;

use atoll_protocol::effect::{Effect, Signal};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, PortExit};
use atoll_protocol::role::console_mail::{OUTPUT, OUTPUT_WINDOW, ROOM};
use atoll_protocol::units::{ServerId, Ticks};
use atoll_sdk::harness::{Answer, Harness, MACHINE};
use proptest::prelude::*;

use super::*;

extern crate std;

const CONSOLE: ServerId = ServerId::nth(5);
const MILLISECOND: Ticks = Ticks(1_000_000);

/// The port with its surroundings: timers, the line, and what was mailed.
struct Port {
    server: Harness<UartServer>,
    timers: [Option<u64>; 3],
    line: bool,
    output: Vec<u8>,
    room: usize,
    mails: usize,
}

impl Port {
    fn new() -> Self {
        let peers = postcard_peers();
        let (server, _) = Harness::start(
            &MACHINE,
            &Setup {
                lines: &[4],
                peers: &peers,
                options: "",
            },
        );
        Port {
            server,
            timers: [None; 3],
            line: false,
            output: Vec::new(),
            room: 0,
            mails: 0,
        }
    }

    fn take(&mut self, answer: Answer) {
        let effects = answer.effects();
        assert!(effects.len() < atoll_protocol::EFFECTS);
        let mut mails = 0;
        for effect in effects {
            match effect {
                Effect::Line(line, signal) if line.index() == 4 => {
                    assert_ne!(
                        self.line,
                        signal == Signal::Raise,
                        "a signal that changes nothing"
                    );
                    self.line = signal == Signal::Raise;
                }
                Effect::Arm(timer, at) => self.timers[timer.index()] = Some(at.0.0),
                Effect::Mail(CONSOLE, [OUTPUT, bytes @ ..]) => {
                    self.output.extend_from_slice(bytes);
                    mails += 1;
                }
                Effect::Mail(CONSOLE, [ROOM, count]) => {
                    self.room += usize::from(*count);
                    mails += 1;
                }
                Effect::Value(_) | Effect::Done | Effect::Data(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(mails <= 2, "too much mail at once");
        self.mails += mails;
    }

    fn deliver(&mut self, body: Body<'_>) -> u64 {
        self.server.advance(Ticks(100));
        let answer = self.server.deliver(body);
        let value = if matches!(body, Body::PortRead(_) | Body::PortWrite(_)) {
            answer.value()
        } else {
            0
        };
        self.take(answer);
        value
    }

    fn out(&mut self, offset: u16, value: u8) {
        let exit = PortExit {
            port: 0x3f8 + offset,
            size: 1,
            value: value.into(),
            count: 1,
            ..PortExit::default()
        };
        self.deliver(Body::PortWrite(Fixed(exit)));
    }

    fn input(&mut self, offset: u16) -> u8 {
        let exit = PortExit {
            port: 0x3f8 + offset,
            size: 1,
            count: 1,
            ..PortExit::default()
        };
        self.deliver(Body::PortRead(Fixed(exit))) as u8
    }

    fn mail(&mut self, tag: u8, bytes: &[u8]) {
        let mail: Vec<u8> = [tag].iter().chain(bytes).copied().collect();
        self.deliver(Body::Mail(CONSOLE, &mail));
    }

    /// Lets a millisecond pass, and timers expire in it.
    fn pass(&mut self) {
        self.server.advance(MILLISECOND);
        for timer in 0..3 {
            if self.timers[timer].is_some_and(|at| at <= self.server.header.now.0) {
                self.timers[timer] = None;
                self.deliver(Body::Timer(atoll_protocol::units::TimerId::nth(
                    timer as u8,
                )));
            }
        }
    }

    /// As a driver opens the port: FIFOs with a trigger at eight bytes, interrupt connected, listening; then time for it to open.
    fn open(&mut self) {
        self.out(2, 0x81);
        self.out(4, 0x0b);
        self.out(1, IER_RECEIVED);
        (0..3).for_each(|_| self.pass());
    }
}

fn postcard_peers() -> Vec<u8> {
    // ("console", 5) as the host tool packs it: a length, the name, the number.
    [&[7], &b"console"[..], &[5]].concat()
}

#[test]
fn a_wide_access_at_the_last_register_reaches_no_other() {
    let mut port = Port::new();
    let wide = PortExit {
        port: 0x3ff,
        size: 4,
        value: 0x4142_4355,
        count: 1,
        ..PortExit::default()
    };
    port.deliver(Body::PortWrite(Fixed(wide)));
    assert_eq!(port.input(7), 0x55);
    assert!(port.output.is_empty(), "nothing is transmitted");
    assert_eq!(port.deliver(Body::PortRead(Fixed(wide))), 0xffff_ff55);
}

#[test]
fn a_line_of_text_is_one_mail_and_a_prompt_follows_within_a_millisecond() {
    let mut port = Port::new();
    b"hello, world\nlogin: "
        .iter()
        .for_each(|byte| port.out(0, *byte));
    assert_eq!((&port.output[..], port.mails), (&b"hello, world\n"[..], 1));
    port.pass();
    assert_eq!(
        (&port.output[..], port.mails),
        (&b"hello, world\nlogin: "[..], 2)
    );
}

#[test]
fn a_transmitter_interrupts_when_the_console_makes_it_ready_again_also_if_nothing_waits_to_be_mailed()
 {
    let mut port = Port::new();
    port.out(4, MCR_OUT2);
    while port.input(5) & LSR_EMPTY != 0 {
        b"a line of text\n"
            .iter()
            .for_each(|byte| port.out(0, *byte));
    }
    port.pass();
    port.out(1, IER_TRANSMIT);
    assert!(!port.line);
    port.mail(TAKEN, &600_u16.to_le_bytes());
    assert!(port.line);
    assert_eq!(port.input(2), IIR_TRANSMIT);
}

#[test]
fn the_transmitter_interrupts_when_enabled_and_after_each_character_until_it_is_identified() {
    let mut port = Port::new();
    port.out(4, MCR_OUT2);
    port.out(1, IER_TRANSMIT);
    assert!(port.line);
    assert_eq!(port.input(2), IIR_TRANSMIT);
    assert!(!port.line);
    assert_eq!(port.input(2), IIR_NONE);
    // Linux's test for a port that does not raise it again.
    port.out(1, 0);
    port.out(1, IER_TRANSMIT);
    assert_eq!(port.input(2), IIR_TRANSMIT);
    port.out(0, b'x');
    assert!(port.line);
    port.out(1, 0);
    assert!(!port.line);
}

#[test]
fn without_out2_or_in_loopback_the_line_stays_low() {
    let mut port = Port::new();
    port.out(1, IER_TRANSMIT);
    assert!(!port.line);
    port.out(4, MCR_OUT2);
    assert!(port.line);
    port.out(4, MCR_OUT2 | MCR_LOOP);
    assert!(!port.line);
}

#[test]
fn loopback_returns_characters_and_modem_lines_as_linux_tests_them() {
    let mut port = Port::new();
    port.out(4, MCR_LOOP | 0x0a);
    assert_eq!(port.input(6) & 0xf0, 0x90);
    port.out(0, b'!');
    assert_eq!(port.input(5) & LSR_DATA, LSR_DATA);
    assert_eq!(port.input(0), b'!');
    assert_eq!(port.input(5), LSR_EMPTY);
    port.out(4, 0);
    port.pass();
    assert!(port.output.is_empty());
    assert_eq!(port.input(6) & 0xf0, MSR_CONNECTED);
}

#[test]
fn it_identifies_itself_as_a_16550a() {
    let mut port = Port::new();
    port.out(1, 0xff);
    assert_eq!(port.input(1), 0x0f);
    port.out(1, 0);
    assert_eq!(port.input(2) >> 6, 0);
    port.out(2, 0x21);
    assert_eq!(port.input(2) >> 5, 6, "no 64-byte FIFOs");
    port.out(3, 0x80);
    port.out(0, 0x34);
    port.out(1, 0x12);
    assert_eq!((port.input(0), port.input(1)), (0x34, 0x12));
    port.out(3, 0x03);
    assert_eq!(port.input(1), 0);
    port.out(7, 0x5a);
    assert_eq!(port.input(7), 0x5a);
}

#[test]
fn nothing_is_granted_to_a_probe_and_sixteen_bytes_to_a_listener() {
    let mut port = Port::new();
    port.out(1, 0x0f);
    port.out(1, 0);
    port.out(4, MCR_LOOP | 0x0a);
    port.out(4, 0);
    (0..5).for_each(|_| port.pass());
    assert_eq!(port.room, 0);
    port.open();
    assert_eq!(port.room, 16);
}

#[test]
fn received_data_interrupts_at_the_trigger_level_or_after_four_characters_time() {
    let mut port = Port::new();
    port.open();
    port.mail(INPUT, b"abc");
    assert!(!port.line);
    port.pass();
    assert!(port.line);
    assert_eq!(port.input(2), IIR_TIMEOUT | IIR_FIFOS);
    assert_eq!(port.input(0), b'a');
    assert!(!port.line, "reading a character ends the time-out");
    port.mail(INPUT, b"defghi");
    assert!(port.line);
    assert_eq!(port.input(2), IIR_RECEIVED | IIR_FIFOS);
    let read: Vec<u8> = (0..8).map(|_| port.input(0)).collect();
    assert_eq!(read, b"bcdefghi");
    assert!(!port.line);
}

#[test]
fn a_string_instruction_cannot_make_an_answer_too_long() {
    let bytes: Vec<u8> = (0..2048)
        .map(|place| if place & 1 == 0 { b'\n' } else { 0 })
        .collect();
    for offset in 0..8 {
        let mut port = Port::new();
        port.open();
        let exit = PortExit {
            port: 0x3f8 + offset,
            size: 1,
            count: 2048,
            ..PortExit::default()
        };
        port.out(1, 0x0f);
        port.deliver(Body::PortWriteString(Fixed(exit), &bytes));
        port.deliver(Body::PortReadString(Fixed(exit)));
    }
}

proptest! {
    // A case is thousands of activations.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A guest that waits for the transmitter, a console that takes its time: everything arrives once and in order.
    #[test]
    fn output_is_neither_lost_nor_reordered(
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        pauses in proptest::collection::vec(1..600_usize, 1..20),
    ) {
        let mut port = Port::new();
        let (mut written, mut taken, mut pause) = (0, 0, pauses.iter().cycle());
        while written < bytes.len() {
            for _ in 0..*pause.next().unwrap() {
                if port.input(5) & LSR_EMPTY == 0 || written == bytes.len() {
                    break;
                }
                for byte in bytes.iter().skip(written).take(16) {
                    port.out(0, *byte);
                    written += 1;
                }
            }
            port.pass();
            let count = port.output.len() - taken;
            prop_assert!(count <= usize::from(OUTPUT_WINDOW));
            if count >= 1024 {
                port.mail(TAKEN, &(count as u16).to_le_bytes());
                taken += count;
            }
        }
        (0..5).for_each(|_| port.pass());
        prop_assert_eq!(port.output, bytes);
    }

    /// A console that sends whatever it may, a guest that reads when it likes: everything arrives once and in order.
    #[test]
    fn input_is_neither_lost_nor_reordered(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        reads in proptest::collection::vec(0..20_usize, 1..10),
    ) {
        let mut port = Port::new();
        port.open();
        let (mut sent, mut read) = (0, Vec::new());
        for count in reads.iter().cycle() {
            if read.len() == bytes.len() || reads.iter().all(|count| *count == 0) {
                break;
            }
            let now = port.room.min(bytes.len() - sent);
            if now != 0 {
                port.room -= now;
                port.mail(INPUT, &bytes[sent..sent + now]);
                sent += now;
            }
            port.pass();
            prop_assert_eq!(port.line, sent != read.len());
            for _ in 0..*count {
                if port.input(5) & LSR_DATA != 0 {
                    read.push(port.input(0));
                }
            }
        }
        prop_assert!(read.len() == bytes.len() || reads.iter().all(|count| *count == 0));
        prop_assert_eq!(&read[..], &bytes[..read.len()]);
    }

    #[test]
    fn no_access_makes_it_fail(accesses in proptest::collection::vec((0..8_u16, any::<Option<u8>>()), 0..200)) {
        let mut port = Port::new();
        for (offset, write) in accesses {
            match write {
                Some(value) => port.out(offset, value),
                None => drop(port.input(offset)),
            }
        }
        port.pass();
    }
}
