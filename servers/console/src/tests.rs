//! The driver between a serial port that keeps the rules and a device that takes its time.

mod succession;

use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::message::Body;
use atoll_protocol::role::console_mail::{INPUT, TAKEN};
use atoll_protocol::units::{HostIrq, ServerId, Ticks, TimerId};
use atoll_sdk::harness::{Answer, Harness, MACHINE};
use proptest::prelude::*;

use super::*;

extern crate std;

const UART: ServerId = ServerId::nth(4);

/// The driver, the device and the serial port.
struct Host {
    server: Harness<ConsoleServer>,
    /// What the device holds for the driver.
    incoming: Vec<u8>,
    /// What the device has sent.
    sent: Vec<u8>,
    /// What the serial port has got, and what it was told has been written.
    got: Vec<u8>,
    taken: usize,
    /// Whether the device interrupts when it receives.
    listening: bool,
    replies: usize,
    timers: [Option<u64>; 2],
}

/// What is delivered next.
enum Next {
    Filled(u16),
    Drained(Vec<u8>),
}

impl Host {
    fn new(incoming: &[u8]) -> Self {
        let peers = [&[4], &b"uart"[..], &[UART.number()]].concat();
        let (server, first) = Harness::start(
            &MACHINE,
            &Setup {
                peers: &peers,
                ..Setup::default()
            },
        );
        let (sent, got, timers) = (Vec::new(), Vec::new(), [None; 2]);
        let incoming = incoming.to_vec();
        let mut host = Host {
            server,
            incoming,
            sent,
            got,
            taken: 0,
            listening: false,
            replies: 0,
            timers,
        };
        host.settle(first, 16);
        host
    }

    /// Carries out an answer and all that follows; the device takes at most `appetite` bytes each time.
    fn settle(&mut self, first: Answer, appetite: usize) {
        let mut next = self.carry_out(&first, appetite);
        let mut steps = 0;
        while !next.is_empty() {
            steps += 1;
            assert!(steps < 1000, "it never comes to rest");
            let answer = match next.remove(0) {
                Next::Filled(count) => self.server.deliver(Body::Filled(count)),
                Next::Drained(bytes) => self.server.deliver(Body::Drained(&bytes)),
            };
            next.extend(self.carry_out(&answer, appetite));
        }
    }

    fn carry_out(&mut self, answer: &Answer, appetite: usize) -> Vec<Next> {
        let mut next = Vec::new();
        for effect in answer.effects() {
            match effect {
                Effect::Fill(_, bytes) => {
                    let count = bytes.len().min(appetite);
                    self.sent.extend_from_slice(&bytes[..count]);
                    next.push(Next::Filled(count as u16));
                }
                Effect::Drain(_, max) => {
                    assert_ne!(max, 0);
                    let count = self.incoming.len().min(max.into());
                    next.push(Next::Drained(self.incoming.drain(..count).collect()));
                }
                // Writing 1 to the divisor latch happens only during set-up, which ends deaf.
                Effect::PortOut(0x3f9, 1, value) => self.listening = value == 1,
                Effect::PortOut(..) | Effect::Defer(_) => {}
                Effect::Mail(UART, [INPUT, bytes @ ..]) => self.got.extend_from_slice(bytes),
                Effect::Mail(UART, [TAKEN, low, high]) => {
                    self.taken += usize::from(u16::from_le_bytes([*low, *high]))
                }
                Effect::Arm(timer, at) => self.timers[timer.index()] = Some(at.0.0),
                Effect::Reply(..) => self.replies += 1,
                other => panic!("unexpected {other:?}"),
            }
        }
        next
    }

    fn deliver(&mut self, body: Body<'_>, appetite: usize) {
        let answer = self.server.deliver(body);
        self.settle(answer, appetite);
    }

    fn mail(&mut self, tag: u8, bytes: &[u8], appetite: usize) {
        let mail: Vec<u8> = [tag].iter().chain(bytes).copied().collect();
        self.deliver(Body::Mail(UART, &mail), appetite);
    }

    fn pass(&mut self, milliseconds: u64, appetite: usize) {
        self.server.advance(Ticks(milliseconds * 1_000_000));
        for timer in 0..2 {
            if self.timers[timer].is_some_and(|at| at <= self.server.header.now.0) {
                self.timers[timer] = None;
                self.deliver(Body::Timer(TimerId::nth(timer as u8)), appetite);
            }
        }
    }
}

#[test]
fn what_the_device_holds_at_the_start_reaches_the_guest_when_it_listens() {
    let mut host = Host::new(b"x");
    assert!(!host.listening && host.got.is_empty());
    host.mail(ROOM, &[16], 16);
    assert!(host.listening);
    assert_eq!(host.got, b"x");
}

#[test]
fn without_room_input_stays_in_the_device() {
    let mut host = Host::new(b"");
    host.mail(ROOM, &[4], 16);
    host.incoming.extend_from_slice(b"abcdefgh");
    host.deliver(Body::HostIrq(HostIrq::nth(4)), 16);
    assert_eq!(
        (&host.got[..], &host.incoming[..]),
        (&b"abcd"[..], &b"efgh"[..])
    );
    assert!(!host.listening);
    host.mail(ROOM, &[16], 16);
    assert_eq!(host.got, b"abcdefgh");
    assert!(host.listening);
}

#[test]
fn a_flush_is_answered_when_the_last_byte_is_written_and_once() {
    let mut host = Host::new(b"");
    host.mail(OUTPUT, b"last words", 3);
    host.deliver(Body::Request(ServerId::SUPERVISOR, b"flush"), 3);
    for _ in 0..2 {
        host.pass(2, 3);
        assert_eq!(host.replies, 0);
    }
    (0..10).for_each(|_| host.pass(2, 3));
    assert_eq!((&host.sent[..], host.replies), (&b"last words"[..], 1));
}

#[test]
fn a_flush_that_is_too_late_is_left_to_the_kernel() {
    let mut host = Host::new(b"");
    host.mail(OUTPUT, b"never", 0);
    host.deliver(Body::Request(ServerId::SUPERVISOR, b"flush"), 0);
    host.pass(995, 16);
    (0..5).for_each(|_| host.pass(2, 16));
    assert_eq!((&host.sent[..], host.replies), (&b"never"[..], 0));
}

#[test]
fn mail_from_a_stranger_is_ignored() {
    let mut host = Host::new(b"");
    host.deliver(Body::Mail(ServerId::nth(9), &[OUTPUT, b'!']), 16);
    assert!(host.sent.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the device takes at a time: all output arrives once and in order, and less than one notice's worth stays untold.
    #[test]
    fn output_is_neither_lost_nor_reordered(
        mails in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..48), 0..40_usize), 0..300),
    ) {
        let mut host = Host::new(b"");
        let mut all = Vec::new();
        for (bytes, appetite) in &mails {
            while all.len() + bytes.len() - host.taken > 4096 {
                host.pass(2, 64);
            }
            host.mail(OUTPUT, bytes, *appetite);
            all.extend_from_slice(bytes);
            host.pass(2, *appetite);
        }
        (0..100).for_each(|_| host.pass(2, 256));
        prop_assert!(all.len() - host.taken < 1024);
        prop_assert_eq!(host.sent, all);
    }
}
