//! No interrupt is lost or doubled: the server against models that keep sets and priorities, and nothing else.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Board, LAPIC};

const LEVEL: u64 = 1 << 15;

/// What happens to the machine.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A device's line goes to a level.
    Line(u8, bool),
    /// A device's line goes high and low at once.
    Pulse(u8),
    /// The CPU takes what is on offer; whether it says so at once.
    Take(bool),
    /// The handler ends.
    End,
    /// The CPU sends itself a vector.
    Own(u8),
}

fn steps(lines: &'static [u8]) -> impl Strategy<Value = Vec<Step>> {
    let line = || prop::sample::select(lines);
    let step = prop_oneof![
        (line(), any::<bool>()).prop_map(|(line, level)| Step::Line(line, level)),
        line().prop_map(Step::Pulse),
        any::<bool>().prop_map(Step::Take),
        any::<bool>().prop_map(Step::Take),
        Just(Step::End),
        Just(Step::End),
        (0x20_u8..=0xff).prop_map(Step::Own),
    ];
    prop::collection::vec(step, 1..150)
}

/// Lines with their vectors; those from 16 on are level-triggered.
const LINES: [u8; 6] = [1, 4, 14, 16, 19, 23];

fn vector(line: u8) -> u8 {
    0x31 + line * 8
}

#[derive(Default)]
struct Model {
    high: BTreeSet<u8>,
    pending: BTreeSet<u8>,
    /// Level-triggered lines whose end has not come.
    awaiting: BTreeSet<u8>,
    service: Vec<u8>,
}

impl Model {
    fn send(&mut self, line: u8) {
        if line < 16 || self.awaiting.insert(line) {
            self.pending.insert(vector(line));
        }
    }

    fn offer(&self) -> Option<u8> {
        let held = self.service.last().map_or(0, |vector| vector >> 4);
        self.pending
            .last()
            .copied()
            .filter(|vector| vector >> 4 > held)
    }
}

proptest! {
    #[test]
    fn through_the_apics_every_request_is_served_once(steps in steps(&LINES), extended: bool) {
        let mut board = if extended { Board::with_x2apic() } else { Board::with_apic() };
        for line in LINES {
            board.redirect(line.into(), u64::from(vector(line)) | if line >= 16 { LEVEL } else { 0 });
        }
        let own: BTreeSet<u8> = LINES.map(vector).into();
        let mut model = Model::default();
        for step in steps {
            // An acceptance that was not told at once rides on the next message.
            match step {
                Step::Line(line, level) => {
                    let rose = level && !model.high.contains(&line);
                    if level { model.high.insert(line); } else { model.high.remove(&line); }
                    if rose {
                        model.send(line);
                    }
                    board.line(line, level, rose);
                }
                Step::Pulse(line) if !model.high.contains(&line) => {
                    model.send(line);
                    board.pulse(line);
                }
                Step::Take(at_once) => {
                    if let Some(vector) = model.offer() {
                        model.pending.remove(&vector);
                        model.service.push(vector);
                        prop_assert_eq!(if at_once { board.take() } else { board.accept() }, vector);
                        if !at_once {
                            continue;
                        }
                    }
                }
                Step::End => {
                    if let Some(ended) = model.service.pop() {
                        for line in LINES.into_iter().filter(|line| *line >= 16 && vector(*line) == ended) {
                            model.awaiting.remove(&line);
                            if model.high.contains(&line) {
                                model.send(line);
                            }
                        }
                    }
                    if extended { prop_assert!(board.wrmsr(0x80b, 0)); } else { board.eoi(); }
                }
                Step::Own(vector) if !own.contains(&vector) => {
                    model.pending.insert(vector);
                    if extended {
                        prop_assert!(board.wrmsr(0x83f, vector.into()));
                    } else {
                        board.store(LAPIC + 0x300, 0x0004_0000 | u32::from(vector));
                    }
                }
                Step::Pulse(_) | Step::Own(_) => continue,
            }
            if board.server.header.accepted == atoll_protocol::message::Header::NOT_ACCEPTED {
                prop_assert_eq!(board.fixed(), model.offer(), "after {:?}", step);
            }
        }
    }

    #[test]
    fn through_the_8259s_every_request_is_served_once(steps in steps(&[1, 5, 8, 11, 14])) {
        // Lines 5 and 11 are level-triggered.
        let mut board = Board::new();
        board.init_pics(false);
        board.outb(0x21, 0);
        board.outb(0xa1, 0);
        board.outb(0x4d0, 0x20);
        board.outb(0x4d1, 0x08);
        let rank = |line: u8| if line < 2 { line } else if line < 8 { line + 8 } else { line - 6 };
        let (mut high, mut edges, mut service) = (BTreeSet::new(), BTreeSet::new(), Vec::<u8>::new());
        for step in steps {
            match step {
                Step::Line(line, level) => {
                    let rose = level && !high.contains(&line);
                    if level { high.insert(line); } else { high.remove(&line); }
                    if rose && line != 5 && line != 11 {
                        edges.insert(line);
                    }
                    board.line(line, level, rose);
                }
                Step::Pulse(line) if !high.contains(&line) => {
                    if line != 5 && line != 11 {
                        edges.insert(line);
                    }
                    board.pulse(line);
                }
                Step::Take(_) if board.external().is_some() => {
                    let line = board.take() - 0x30;
                    edges.remove(&line);
                    service.push(line);
                }
                Step::End => {
                    let Some(line) = service.pop() else { continue };
                    if line >= 8 {
                        board.outb(0xa0, 0x60 | line & 7);
                        // The master's cascade ends with the slave's last service.
                        if service.iter().any(|line| *line >= 8) {
                            continue;
                        }
                        board.outb(0x20, 0x62);
                    } else {
                        board.outb(0x20, 0x60 | line);
                    }
                }
                _ => continue,
            }
            // The cascade is one input of the master: while it is in service, no other request of the slave passes.
            let expected = edges.iter().chain(high.iter().filter(|line| **line == 5 || **line == 11)).copied();
            let expected = expected.filter(|line| service.iter().all(|busy| {
                rank(*line) < rank(*busy) && !(*line >= 8 && *busy >= 8)
            }));
            prop_assert_eq!(board.external(), expected.min_by_key(|line| rank(*line)).map(|line| line + 0x30), "after {:?}", step);
        }
    }
}
