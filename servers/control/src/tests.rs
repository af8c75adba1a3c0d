//! The control line from question to answer, with a kernel that has three servers.

mod succession;

use std::vec::Vec;

use atoll_protocol::cause::What;
use atoll_protocol::control::{Ask, DumpPart, MachineRecord, Moments, ServerRecord, State, Tell};
use atoll_protocol::effect::{Effect, Query};
use atoll_protocol::message::Body;
use atoll_protocol::order::{Order, Outcome, PIECE_BYTES};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, ServerId, Ticks};
use atoll_sdk::harness::{Harness, MACHINE};
use proptest::prelude::*;

use super::*;

extern crate std;

/// The device and the kernel, as far as this server sees them.
struct Line {
    server: Harness<ControlServer>,
    /// What the host tool has sent and the server has not read.
    incoming: Vec<u8>,
    /// What the server has sent.
    sent: Vec<u8>,
    /// Bytes that the device takes at once.
    appetite: usize,
}

fn owned(effects: Vec<Effect<'_>>) -> Vec<(u8, Vec<u8>, u64)> {
    let one = |effect: &Effect<'_>| match effect {
        Effect::Fill(_, bytes) => (b'F', bytes.to_vec(), 0),
        Effect::Drain(_, max) => (b'D', Vec::new(), u64::from(*max)),
        Effect::Arm(..) => (b'T', Vec::new(), 0),
        Effect::Query(Query::Server(id)) => (b'S', Vec::new(), u64::from(id.number())),
        Effect::Query(Query::Exit(index)) => (b'X', Vec::new(), u64::from(*index)),
        Effect::Query(Query::Machine) => (b'M', Vec::new(), 0),
        Effect::Query(Query::Dump(id, part)) => (b'U', Vec::from([id.number()]), u64::from(*part)),
        Effect::PortOut(..) => (b'P', Vec::new(), 0),
        Effect::Request(ServerId::SUPERVISOR, _, order) => (b'O', order.to_vec(), 0),
        other => panic!("unexpected {other:?}"),
    };
    effects.iter().map(one).collect()
}

impl Line {
    fn new(appetite: usize) -> Self {
        let peers = postcard::to_extend(&("supervisor", ServerId::SUPERVISOR), Vec::new()).unwrap();
        let (server, _) = Harness::start(
            &MACHINE,
            &Setup {
                peers: &peers,
                ..Setup::default()
            },
        );
        Line {
            server,
            incoming: Vec::new(),
            sent: Vec::new(),
            appetite,
        }
    }

    /// Delivers an interrupt and then whatever follows from it, until nothing does.
    fn run(&mut self) {
        let mut todo = owned(
            self.server
                .deliver(Body::HostIrq(HostIrq::nth(3)))
                .effects(),
        );
        let mut steps = 0;
        while !todo.is_empty() {
            let (what, bytes, number) = todo.remove(0);
            steps += 1;
            assert!(steps < 10_000, "it never comes to rest");
            let answer = match what {
                b'F' => {
                    let count = bytes.len().min(self.appetite);
                    self.sent.extend_from_slice(&bytes[..count]);
                    self.server.deliver(Body::Filled(count as u16))
                }
                b'D' => {
                    let bytes: Vec<u8> = self
                        .incoming
                        .drain(..self.incoming.len().min(number as usize))
                        .collect();
                    self.server.deliver(Body::Drained(&bytes))
                }
                b'T' => self.server.deliver(Body::Timer(line::RETRY)),
                b'S' if number < 3 => {
                    let time = Moments {
                        count: number,
                        ..Moments::default()
                    };
                    let (role, id) = (RoleKind::Msr, number as u8);
                    let record = ServerRecord {
                        id,
                        name: "msr",
                        image: "msr",
                        role,
                        state: State::Running,
                        generation: 1,
                        restarts: 0,
                        time,
                    };
                    let bytes = postcard::to_extend(&record, Vec::new()).unwrap();
                    self.server.deliver(Body::Record(&bytes))
                }
                b'M' => {
                    let (tsc_khz, free_frames) = (1, 2);
                    let (elapsed, exits, running, stray_ports, stray_memory) = (3, 4, true, 5, 6);
                    let record = MachineRecord {
                        tsc_khz,
                        elapsed,
                        exits,
                        running,
                        free_frames,
                        stray_ports,
                        stray_memory,
                        ..MachineRecord::default()
                    };
                    let bytes = postcard::to_extend(&record, Vec::new()).unwrap();
                    self.server.deliver(Body::Record(&bytes))
                }
                b'U' if bytes == [4] && number < 3 => {
                    let part = DumpPart::Past(Ticks(number), What::Cpuid, 7);
                    let bytes = postcard::to_extend(&part, Vec::new()).unwrap();
                    self.server.deliver(Body::Record(&bytes))
                }
                b'O' => {
                    let known = [
                        Order::Kill(ServerId::nth(4)),
                        Order::Swap(ServerId::nth(4), true, Some("another")),
                    ];
                    let known =
                        postcard::from_bytes(&bytes).is_ok_and(|order| known.contains(&order));
                    let outcome = if known {
                        Outcome::Done
                    } else {
                        Outcome::NoSuchServer
                    };
                    let bytes = postcard::to_extend(&outcome, Vec::new()).unwrap();
                    self.server.deliver(Body::Answered(0, Some(&bytes)))
                }
                b'S' | b'X' | b'U' => self.server.deliver(Body::Record(&[])),
                _ => continue,
            };
            todo.extend(owned(answer.effects()));
        }
        assert!(self.incoming.is_empty());
    }

    fn ask(&mut self, ask: Ask<'_>) {
        let mut frame = [0; state::INPUT];
        self.incoming
            .extend_from_slice(postcard::to_slice_cobs(&ask, &mut frame).unwrap());
    }

    /// The answers so far, each as the debug form of its `Tell`, shortened to the variant's name.
    fn told(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for frame in self.sent.split_inclusive_mut(|byte| *byte == 0) {
            names.push(
                match postcard::from_bytes_cobs::<Tell<'_>>(frame)
                    .expect("a frame that does not decode")
                {
                    Tell::Pong(_) => "pong",
                    Tell::Server(_) => "server",
                    Tell::Exit(_) => "exit",
                    Tell::Machine(_) => "machine",
                    Tell::Outcome(Outcome::Done) => "done",
                    Tell::Outcome(_) => "not done",
                    Tell::Dump(DumpPart::Past(Ticks(0), ..)) => "first part",
                    Tell::Dump(_) => "part",
                    Tell::End => "end",
                },
            );
        }
        self.sent.clear();
        names
    }
}

#[test]
fn every_question_is_answered_in_the_order_of_asking() {
    for appetite in [1, 7, 512] {
        let mut line = Line::new(appetite);
        for ask in [
            Ask::Ping(7),
            Ask::Servers,
            Ask::Machine,
            Ask::Exits,
            Ask::Ping(8),
        ] {
            line.ask(ask);
        }
        line.run();
        assert_eq!(
            line.told(),
            [
                "pong", "server", "server", "server", "end", "machine", "end", "pong"
            ]
        );
    }
}

#[test]
fn a_dump_comes_part_by_part_and_a_server_without_one_has_an_empty_list() {
    let mut line = Line::new(16);
    for ask in [Ask::Dump(4), Ask::Dump(5), Ask::Ping(1)] {
        line.ask(ask);
    }
    line.run();
    assert_eq!(
        line.told(),
        ["first part", "part", "part", "end", "end", "pong"]
    );
}

#[test]
fn orders_go_to_the_supervisor_and_its_answer_comes_back() {
    let mut line = Line::new(16);
    let swap = |force| Ask::Order(Order::Swap(ServerId::nth(4), force, Some("another")));
    for ask in [
        Ask::Order(Order::Kill(ServerId::nth(4))),
        Ask::Ping(1),
        swap(true),
        swap(false),
    ] {
        line.ask(ask);
    }
    line.run();
    assert_eq!(line.told(), ["done", "pong", "done", "not done"]);
}

#[test]
fn the_largest_piece_of_an_image_fits_the_line_and_a_letter() {
    let mut line = Line::new(16);
    // No two bytes alike beside each other, and no zero: what COBS and varints make the most of.
    let bytes = [0xff; PIECE_BYTES];
    line.ask(Ask::Ping(1));
    line.incoming.push(0);
    line.ask(Ask::Order(Order::Piece(u32::MAX, u64::MAX, &bytes)));
    line.run();
    assert_eq!(
        line.told(),
        ["pong", "not done"],
        "it is passed on, and the supervisor of this test does not know it"
    );
}

#[test]
fn without_the_right_to_ask_the_supervisor_an_order_is_answered_nevertheless() {
    let mut line = Line::new(16);
    line.server = Harness::start(&MACHINE, &Setup::default()).0;
    line.ask(Ask::Order(Order::Kill(ServerId::nth(4))));
    line.run();
    assert_eq!(line.told(), ["not done"]);
}

#[test]
fn a_flood_of_questions_waits_in_the_device_and_none_is_lost() {
    let mut line = Line::new(16);
    (0..300).for_each(|number| line.ask(Ask::Ping(number)));
    line.run();
    assert_eq!(line.told().len(), 300);
}

#[test]
fn a_frame_that_never_ends_is_skipped_and_the_next_is_understood() {
    let mut line = Line::new(512);
    line.incoming.resize(1000, 0x55);
    line.incoming.push(0);
    line.ask(Ask::Ping(1));
    line.run();
    assert_eq!(line.told(), ["end", "pong"]);
}

proptest! {
    #[test]
    fn any_bytes_end_in_answers_and_the_line_still_works(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut line = Line::new(512);
        line.incoming = bytes;
        line.incoming.push(0);
        line.run();
        line.told();
        line.ask(Ask::Ping(1));
        line.run();
        prop_assert_eq!(line.told(), ["pong"]);
    }
}
