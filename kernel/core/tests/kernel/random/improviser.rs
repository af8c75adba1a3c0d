//! Servers that answer at random, and that notice when the kernel does not keep its word: a faulted server gets nothing more, a request
//! is answered once, a rejected answer has done nothing to the machine.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use atoll_core::machine::Outcome;
use atoll_protocol::effect::Effect;
use atoll_protocol::fault::Reason;
use atoll_protocol::message::Body;
use atoll_protocol::units::{ServerId, TicketId};
use atoll_protocol::{PAGE, PANICKED};

use super::answers::answer;
use super::dice::Dice;
use super::effects::{Scene, tag};
use super::tally::{Tally, kinds};
use crate::cast::{CONTROL, LIMITS, SUPERVISOR};
use crate::machine::Servers;
use crate::script::{message, polite, push};

/// An answer of which is not known yet what became of it.
struct Pending {
    server: ServerId,
    /// The kinds of its effects if it decodes.
    kinds: Option<Vec<usize>>,
    is_answer: bool,
    /// The supervisor's request that the message answered.
    answers: Option<(ServerId, u32)>,
}

/// Servers that improvise.
pub(crate) struct Improviser {
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    /// The supervisor's answers that build the machine; until they are used up, everybody is polite.
    pub(crate) boot: VecDeque<Vec<u8>>,
    /// Whether they improvise, rather than being polite.
    pub(crate) playing: bool,
    /// Whether a compare-and-swap of the pending answer found another value.
    pub(crate) conflict: Rc<Cell<bool>>,
    /// Servers that were faulted and not started again, by bit.
    pub(crate) silenced: u32,
    /// Activations since this was last set to 0.
    pub(crate) activations: u32,
    /// Whether the last fault's answer was rejected, rather than committed by a server that then had used up its time.
    pub(crate) rejected: bool,
    tickets: Vec<TicketId>,
    /// Requests that the supervisor made, by token.
    asked: BTreeMap<(ServerId, u32), u32>,
    pending: Option<Pending>,
}

impl Improviser {
    /// Improvisers that throw these dice.
    pub(crate) fn new(dice: Dice) -> Improviser {
        Improviser {
            dice,
            tally: Tally::NONE,
            boot: VecDeque::new(),
            playing: false,
            conflict: Rc::default(),
            silenced: 0,
            activations: 0,
            rejected: false,
            tickets: Vec::new(),
            asked: BTreeMap::new(),
            pending: None,
        }
    }

    /// Another machine, whose supervisor builds it with these answers.
    pub(crate) fn begin(&mut self, boot: Vec<Vec<u8>>) {
        self.settle();
        self.boot = boot.into();
        self.playing = false;
        self.silenced = 0;
        self.tickets.clear();
        self.asked.clear();
    }

    /// The last answer was not rejected.
    pub(crate) fn settle(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let kinds = pending
            .kinds
            .expect("what does not decode was taken for an answer");
        if let Some(open) = pending.answers.and_then(|token| self.asked.get_mut(&token)) {
            *open -= 1;
        }
        if self.conflict.replace(false) || kinds.contains(&tag("NeedRegisters")) {
            self.tally.again += 1;
        } else {
            self.tally.committed += 1;
            kinds
                .iter()
                .for_each(|kind| self.tally.carried_out[*kind] += 1);
        }
    }

    /// What the processor may say instead of an answer.
    fn accident(&mut self, clock: &mut u64, page: &mut [u8]) -> Option<Outcome> {
        match self.dice.below(1500) {
            0..4 => Some(Outcome::Fault(Reason::Exception {
                vector: 14,
                error: 6,
                address: self.dice.edge(),
            })),
            4..8 => Some(Outcome::Fault(Reason::Hang)),
            8..12 => Some(Outcome::Answer(
                PAGE as u64 + 1 + (self.dice.any() >> self.dice.below(52)) % PANICKED,
            )),
            12..16 => {
                page[..4].copy_from_slice(&self.dice.any().to_le_bytes()[..4]);
                Some(Outcome::Answer(PANICKED + self.dice.below(PAGE as u64 + 1)))
            }
            16..24 => {
                *clock += u64::from(LIMITS.period_us) + 1;
                None
            }
            _ => None,
        }
    }

    /// Notes what an answer asks for, so that what comes back can be held against it.
    fn note_requests(&mut self, from: ServerId, bytes: &[u8]) {
        let mut rest = bytes;
        while let Ok((effect, after)) = postcard::take_from_bytes::<Effect<'_>>(rest) {
            if let Effect::Request(_, token, _) = effect {
                *self.asked.entry((from, token)).or_default() += 1;
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
}

impl Servers for Improviser {
    fn activate(
        &mut self,
        to: ServerId,
        bytes: &[u8],
        page: &mut [u8],
        clock: &mut u64,
    ) -> Outcome {
        self.settle();
        self.activations += 1;
        let message = message(bytes);
        if let Body::Restarted(..) = message.body {
            self.silenced &= !(1 << to.number());
        }
        // One that had not begun is not told that it was restarted: it begins.
        if let Body::Start(..) | Body::Import(..) = message.body {
            self.silenced &= !(1 << to.number());
        }
        assert_eq!(
            self.silenced & 1 << to.number(),
            0,
            "a faulted server got a message"
        );
        let mut answered = Vec::new();
        if !self.playing {
            let boot = if to == SUPERVISOR {
                self.boot.pop_front()
            } else {
                None
            };
            answered = boot.unwrap_or_else(|| {
                polite(&message, &mut |effect| push(&mut answered, effect));
                core::mem::take(&mut answered)
            });
            page[..answered.len()].copy_from_slice(&answered);
            return Outcome::Answer(answered.len() as u64);
        }
        let answers = match (to, message.body) {
            (SUPERVISOR | CONTROL, Body::Answered(token, _)) => Some((to, token)),
            _ => None,
        };
        if let Some(token) = answers {
            assert!(
                self.asked.get(&token).is_some_and(|open| *open > 0),
                "an answer to what was never asked, or a second one"
            );
        }
        if message.header.0.ticket.0 & 0xff > 1 {
            self.tickets.insert(0, message.header.0.ticket);
            self.tickets.truncate(3);
        }
        if let Some(outcome) = self.accident(clock, page) {
            self.pending = Some(Pending {
                server: to,
                kinds: None,
                is_answer: false,
                answers,
            });
            return outcome;
        }
        let scene = Scene {
            me: to,
            now: *clock,
            tickets: &self.tickets,
        };
        answered = answer(&message, &scene, &mut self.dice);
        let (kinds, decodes) = kinds(&answered);
        self.tally.answers += 1;
        if decodes {
            self.tally.decoded += 1;
            kinds.iter().for_each(|kind| self.tally.met[*kind] += 1);
            if matches!(to, SUPERVISOR | CONTROL) {
                self.note_requests(to, &answered);
            }
        }
        self.pending = Some(Pending {
            server: to,
            kinds: decodes.then_some(kinds),
            is_answer: true,
            answers,
        });
        page[..answered.len()].copy_from_slice(&answered);
        Outcome::Answer(answered.len() as u64)
    }

    fn log(&mut self, line: fmt::Arguments<'_>, untouched: bool) {
        let line = line.to_string();
        if self.playing && line.starts_with("fault: ") && line.contains(" Killed ") {
            // Between two messages: nobody has answered anything.
            let id = line
                .split(' ')
                .nth(2)
                .and_then(|id| id.parse().ok())
                .expect("a fault has its server");
            self.silenced |= 1_u32.checked_shl(id).expect("a server's number");
            *self.tally.reasons.entry("Killed".to_owned()).or_default() += 1;
            return;
        }
        if self.pending.is_none() || !self.playing {
            return;
        }
        let Some(fault) = line.strip_prefix("fault: server ") else {
            return;
        };
        let (id, reason) = fault
            .split_once(" broke a rule: ")
            .expect("a fault has its rule");
        let id: u8 = id
            .split(' ')
            .next()
            .and_then(|id| id.parse().ok())
            .expect("a fault has its server");
        let reason = reason.split([' ', '{']).next().unwrap_or_default();
        let pending = self.pending.take().expect("something was answered");
        assert_eq!(
            pending.server,
            ServerId::nth(id),
            "another server was faulted than the one that answered"
        );
        let decodes = pending.is_answer && pending.kinds.is_some();
        assert!(
            !decodes || reason != "Malformed",
            "what decodes was taken for malformed: {line}"
        );
        self.rejected = reason != "Overrun";
        assert!(
            untouched || !self.rejected,
            "a rejected answer has done something: {line}"
        );
        self.silenced |= 1 << id;
        *self.tally.reasons.entry(reason.to_owned()).or_default() += 1;
    }
}
