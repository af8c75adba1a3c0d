//! Servers that say what a test has written down for them, and are polite beyond that.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use atoll_core::machine::Outcome;
use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Leaf, Message};
use atoll_protocol::units::{ServerId, TicketId};
use atoll_protocol::vcpu::InitialState;
use atoll_protocol::{PAGE, PANICKED};
use zerocopy::IntoBytes;

use crate::machine::Servers;

/// What a polite server answers to a read.
pub(crate) const READ: u64 = 0x8877_6655_4433_2211;
/// What a polite server answers to CPUID.
pub(crate) const LEAF: Leaf = Leaf {
    eax: 0xa,
    ebx: 0xb,
    ecx: 0xc,
    edx: 0xd,
};
/// Where the guest begins.
pub(crate) const ENTRY: u64 = 0x1000;
/// What a polite server answers to a request by mail.
pub(crate) const REPLY: &[u8] = b"so be it";

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// Answer with these bytes.
    Bytes(Vec<u8>),
    /// Answer with these bytes after so many ticks.
    Late(u64, Vec<u8>),
    /// The activation ends like this.
    Ends(Outcome),
    /// The server panics with this text.
    Panics(&'static str),
}

/// Servers with a script.
#[derive(Default)]
pub(crate) struct Scripted {
    lines: BTreeMap<u8, VecDeque<Line>>,
    /// What was delivered, to whom.
    pub(crate) seen: Vec<(ServerId, Vec<u8>)>,
    /// What the kernel wrote into its log.
    pub(crate) log: Vec<String>,
}

/// An answer's bytes.
pub(crate) fn encode(effects: &[Effect<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for effect in effects {
        push(&mut bytes, effect);
    }
    bytes
}

/// Puts an effect behind an answer; whatever is longer than a page of its own is cut off there.
pub(crate) fn push(bytes: &mut Vec<u8>, effect: &Effect<'_>) {
    let mut room = [0; 2 * PAGE];
    bytes.extend_from_slice(
        postcard::to_slice(effect, &mut room).expect("an effect longer than two pages"),
    );
}

/// The state that a polite loader gives the guest: protected mode without paging.
pub(crate) fn initial() -> InitialState {
    InitialState {
        rip: ENTRY,
        rflags: 2,
        cr0: 1,
        ..InitialState::default()
    }
}

/// What completes a message's ticket as its operation wants it.
pub(crate) fn polite(message: &Message<'_>, complete: &mut dyn FnMut(&Effect<'_>)) {
    let ticket: TicketId = message.header.0.ticket;
    match message.body {
        Body::Cpuid(_) => complete(&Effect::Leaf(Fixed(LEAF))),
        Body::MsrRead(_) | Body::PortRead(_) | Body::MmioRead(_) | Body::Hypercall(_) => {
            complete(&Effect::Value(Fixed(READ)))
        }
        Body::MsrWrite(_) | Body::PortWrite(_) | Body::PortWriteString(..) | Body::MmioWrite(_) => {
            complete(&Effect::Done)
        }
        Body::PortReadString(exit) => {
            let bytes: Vec<u8> = (0..exit.0.count as usize * usize::from(exit.0.size))
                .map(|byte| byte as u8)
                .collect();
            complete(&Effect::Data(&bytes));
        }
        Body::MemoryFault(..)
        | Body::NestedFault(..)
        | Body::StringIo(..)
        | Body::Instruction(..)
        | Body::AccessDone(..) => complete(&Effect::Resume),
        Body::Request(..) => complete(&Effect::Reply(ticket, REPLY)),
        Body::Load => {
            complete(&Effect::Initial(0, initial().as_bytes()));
            complete(&Effect::Done);
        }
        _ => {}
    }
}

/// Takes a message apart.
pub(crate) fn message(bytes: &[u8]) -> Message<'_> {
    postcard::from_bytes(bytes).expect("a message that does not decode")
}

impl Scripted {
    /// The next message to this server is answered like this.
    pub(crate) fn on(&mut self, server: ServerId, line: Line) {
        self.lines
            .entry(server.number())
            .or_default()
            .push_back(line);
    }
}

impl Servers for Scripted {
    fn activate(
        &mut self,
        to: ServerId,
        bytes: &[u8],
        answer: &mut [u8],
        clock: &mut u64,
    ) -> Outcome {
        self.seen.push((to, bytes.to_vec()));
        let line = self
            .lines
            .get_mut(&to.number())
            .and_then(VecDeque::pop_front)
            .unwrap_or_else(|| {
                let mut bytes_of_answer = Vec::new();
                polite(&message(bytes), &mut |effect| {
                    push(&mut bytes_of_answer, effect)
                });
                Line::Bytes(bytes_of_answer)
            });
        let bytes = match line {
            Line::Bytes(bytes) => bytes,
            Line::Late(ticks, bytes) => {
                *clock += ticks;
                bytes
            }
            Line::Ends(outcome) => return outcome,
            Line::Panics(text) => {
                answer[..text.len()].copy_from_slice(text.as_bytes());
                return Outcome::Answer(PANICKED + text.len() as u64);
            }
        };
        let length = bytes.len().min(answer.len());
        answer[..length].copy_from_slice(&bytes[..length]);
        Outcome::Answer(bytes.len() as u64)
    }

    fn log(&mut self, line: fmt::Arguments<'_>, _: bool) {
        self.log.push(line.to_string());
    }
}
