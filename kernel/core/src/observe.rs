//! Looks into the kernel's books, so that tests can hold them against each other and against what servers were told.

use atoll_protocol::units::{ServerId, Ticks, TimerId};

use crate::mailbox::Letter;
use crate::server::{LOG_LINES, Server};
use crate::timers::Timers;

impl Server {
    /// All lines may be logged about it again, for tests that must not miss one.
    pub fn forget_its_lines(&mut self) {
        self.log.lines = LOG_LINES;
    }

    /// Mail that it may have on the way to `to`.
    pub fn credit_to(&self, to: ServerId) -> u8 {
        self.grants.mail[to]
    }

    /// Mail that it has on the way to `to`.
    pub fn undelivered_to(&self, to: ServerId) -> u8 {
        self.outstanding[to]
    }

    /// The letters in its mailbox, oldest first: from whom (`None` for the result of something that it asked for), and the content.
    pub fn letters(&self) -> impl Iterator<Item = (Option<ServerId>, &[u8])> + '_ {
        let sender = |letter: &Letter| {
            if letter.kind.is_result() {
                None
            } else {
                Some(letter.from)
            }
        };
        self.mailbox
            .letters()
            .map(move |letter| (sender(letter), letter.bytes()))
    }
}

impl Timers {
    /// The timers that are armed.
    pub fn armed(&self) -> impl Iterator<Item = (ServerId, TimerId, Ticks)> + '_ {
        self.each()
    }
}
