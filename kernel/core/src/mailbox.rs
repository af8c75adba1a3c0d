//! What waits for a server. A mailbox is never full: mail is bounded by credits that were checked when it was sent, results by
//! reserved places, and everything else coalesces.

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::message::{LineChange, Stop};
use atoll_protocol::units::{HostIrq, LineId, ServerId, TicketId, TimerId};

use crate::ids::Set;

/// Letters that a mailbox holds: the sum of the credits for it, plus [`RESULTS`].
pub const LETTERS: usize = 40;
/// Results (of port reads, drains, fills, queries and requests) that a server may have outstanding.
pub const RESULTS: u8 = 8;

/// What a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mail,
    Request(TicketId),
    Answered(u32),
    GivenUp(u32),
    PortValue(u32),
    Filled(u16),
    Drained,
    Record,
}

impl Kind {
    /// Whether it takes one of the receiver's reserved places, rather than the sender's credit.
    pub(crate) const fn is_result(self) -> bool {
        !matches!(self, Kind::Mail | Kind::Request(_))
    }
}

/// One letter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) kind: Kind,
    pub(crate) from: ServerId,
    length: u16,
    bytes: [u8; MAIL_BYTES],
}

impl Letter {
    pub(crate) const EMPTY: Letter = Letter {
        kind: Kind::Mail,
        from: ServerId::SUPERVISOR,
        length: 0,
        bytes: [0; MAIL_BYTES],
    };

    pub(crate) fn new(kind: Kind, from: ServerId, content: &[u8]) -> Letter {
        let mut letter = Letter {
            kind,
            from,
            ..Letter::EMPTY
        };
        for (to, from) in letter.bytes.iter_mut().zip(content) {
            *to = *from;
            letter.length = letter.length.saturating_add(1);
        }
        letter
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// The next thing for a server to handle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    Killed,
    Start,
    Restarted,
    Export,
    Import,
    Released(ServerId),
    Load,
    Accepted,
    Line(LineChange),
    Timer(TimerId),
    HostIrq(HostIrq),
    Letter,
    ServerFaulted(ServerId),
    ServerStarted(ServerId),
    Loaded,
    Stopped(Stop),
}

/// The server is to be faulted.
pub(crate) const KILLED: u8 = 1;
/// It is to begin.
pub(crate) const START: u8 = 2;
const RESTARTED: u8 = 4;
const EXPORT: u8 = 8;
/// It is to begin with another's state.
pub(crate) const IMPORT: u8 = 16;

/// A server's mailbox.
pub(crate) struct Mailbox {
    letters: [Letter; LETTERS],
    head: usize,
    count: usize,
    /// What comes ahead of everything: [`KILLED`], [`START`], [`IMPORT`], [`RESTARTED`], [`EXPORT`].
    pub(crate) first: u8,
    pub(crate) load: bool,
    /// The loader wants to be asked again.
    pub(crate) load_again: bool,
    pub(crate) accepted: bool,
    timers: Set<TimerId>,
    irqs: Set<HostIrq>,
    /// Lines that changed, their levels, and those that rose since the last message.
    changed: Set<LineId>,
    levels: Set<LineId>,
    rose: Set<LineId>,
    /// To the supervisor: a succession took too long.
    pub(crate) released: Option<ServerId>,
    started: Set<ServerId>,
    faulted: Set<ServerId>,
    pub(crate) loaded: bool,
    pub(crate) stopped: Option<Stop>,
}

impl Mailbox {
    pub(crate) const EMPTY: Mailbox = Mailbox {
        letters: [Letter::EMPTY; LETTERS],
        head: 0,
        count: 0,
        first: 0,
        load: false,
        load_again: false,
        accepted: false,
        timers: Set::EMPTY,
        irqs: Set::EMPTY,
        changed: Set::EMPTY,
        levels: Set::EMPTY,
        rose: Set::EMPTY,
        released: None,
        started: Set::EMPTY,
        faulted: Set::EMPTY,
        loaded: false,
        stopped: None,
    };

    /// Adds a letter; the place was checked with the sender's credit.
    pub(crate) fn put(&mut self, letter: &Letter) {
        let place = (self.head + self.count) % LETTERS;
        if let (Some(slot), true) = (self.letters.get_mut(place), self.count < LETTERS) {
            *slot = *letter;
            self.count += 1;
        }
    }

    pub(crate) fn timer(&mut self, timer: TimerId) {
        self.timers.insert(timer);
    }

    /// A timer that was armed anew or disarmed has not expired.
    pub(crate) fn forget_timer(&mut self, timer: TimerId) {
        self.timers.remove(timer);
    }

    pub(crate) fn irq(&mut self, irq: HostIrq) {
        self.irqs.insert(irq);
    }

    pub(crate) fn line(&mut self, line: LineId, level: bool, rose: bool) {
        self.changed.insert(line);
        self.levels.set(line, level);
        if rose {
            self.rose.insert(line);
        }
    }

    pub(crate) fn server_started(&mut self, server: ServerId) {
        self.started.insert(server);
    }

    /// That a server has started is of no interest any more.
    pub(crate) fn forget_start(&mut self, server: ServerId) {
        self.started.remove(server);
    }

    /// Nothing about a server is of interest any more.
    pub(crate) fn forget_server(&mut self, server: ServerId) {
        self.forget_start(server);
        self.faulted.remove(server);
    }

    pub(crate) fn server_faulted(&mut self, server: ServerId) {
        self.faulted.insert(server);
    }

    /// The server begins anew; one that had not begun has nothing to be told of.
    pub(crate) fn restart(&mut self) {
        self.first = if self.first & START != 0 {
            START
        } else {
            RESTARTED
        };
    }

    /// Nothing waits any more, except for the beginning of a server that has not begun.
    pub(crate) fn forget(&mut self) {
        *self = Mailbox {
            first: self.first & START,
            ..Mailbox::EMPTY
        };
    }

    /// The server is to say what its successor must know, or (false) need not any more.
    pub(crate) fn export(&mut self, wanted: bool) {
        self.first = if wanted {
            self.first | EXPORT
        } else {
            self.first & !EXPORT
        };
    }

    #[cold]
    fn first(&self) -> Next {
        match self.first {
            first if first & KILLED != 0 => Next::Killed,
            first if first & START != 0 => Next::Start,
            first if first & IMPORT != 0 => Next::Import,
            first if first & RESTARTED != 0 => Next::Restarted,
            _ => Next::Export,
        }
    }

    /// The next thing to handle, but for timers and interrupts if they are held. It stays here until [`Mailbox::done`].
    #[inline(always)]
    pub(crate) fn next(&self, held: bool) -> Option<Next> {
        if self.first != 0 {
            return Some(self.first());
        }
        if self.accepted {
            return Some(Next::Accepted);
        }
        // Ahead of all that the supervisor might want to do with the server.
        if let Some(server) = self.faulted.first() {
            return Some(Next::ServerFaulted(server));
        }
        if let Some(line) = self.changed.first() {
            let change = LineChange {
                line,
                level: self.levels.contains(line),
                rose: self.rose.contains(line),
            };
            return Some(Next::Line(change));
        }
        if let Some(timer) = self.timers.first().filter(|_| !held) {
            return Some(Next::Timer(timer));
        }
        if let Some(irq) = self.irqs.first().filter(|_| !held) {
            return Some(Next::HostIrq(irq));
        }
        if self.count > 0 {
            return Some(Next::Letter);
        }
        if let Some(server) = self.released {
            return Some(Next::Released(server));
        }
        if let Some(server) = self.started.first() {
            return Some(Next::ServerStarted(server));
        }
        if self.load {
            return Some(Next::Load);
        }
        if self.loaded {
            return Some(Next::Loaded);
        }
        self.stopped.map(Next::Stopped)
    }

    /// The letter that [`Next::Letter`] means.
    pub(crate) fn letter(&self) -> &Letter {
        self.letters.get(self.head).unwrap_or(&Letter::EMPTY)
    }

    /// All letters, oldest first.
    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> + '_ {
        self.letters.iter().cycle().skip(self.head).take(self.count)
    }

    /// Lets the first two letters change places; false if there are not two.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn reorder(&mut self) -> bool {
        let next = (self.head + 1) % LETTERS;
        if self.count > 1 {
            self.letters.swap(self.head, next);
        }
        self.count > 1
    }

    /// Takes what was handled out.
    pub(crate) fn done(&mut self, next: Next) {
        match next {
            Next::Killed => self.first &= !KILLED,
            Next::Start => self.first &= !START,
            Next::Restarted => self.first &= !RESTARTED,
            Next::Export => self.first &= !EXPORT,
            Next::Import => self.first &= !IMPORT,
            Next::Released(_) => self.released = None,
            Next::Load => self.load = core::mem::take(&mut self.load_again),
            Next::Accepted => self.accepted = false,
            Next::Line(change) => {
                self.changed.remove(change.line);
                self.rose.remove(change.line);
            }
            Next::Timer(timer) => self.timers.remove(timer),
            Next::HostIrq(irq) => self.irqs.remove(irq),
            Next::Letter => {
                self.head = (self.head + 1) % LETTERS;
                self.count = self.count.saturating_sub(1);
            }
            Next::ServerFaulted(server) => self.faulted.remove(server),
            Next::ServerStarted(server) => self.started.remove(server),
            Next::Loaded => self.loaded = false,
            Next::Stopped(_) => self.stopped = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_in_the_order_they_were_sent() {
        let mut mailbox = Mailbox::EMPTY;
        for round in 0..100_u32 {
            mailbox.put(&Letter::new(Kind::PortValue(round), ServerId::nth(1), &[]));
            mailbox.put(&Letter::new(
                Kind::Mail,
                ServerId::nth(2),
                &round.to_le_bytes(),
            ));
            assert_eq!(mailbox.letter().kind, Kind::PortValue(round));
            mailbox.done(Next::Letter);
            assert_eq!(mailbox.letter().bytes(), &round.to_le_bytes());
            mailbox.done(Next::Letter);
            assert!(mailbox.next(false).is_none());
        }
    }

    #[test]
    fn an_order_does_not_overtake_the_report_that_its_server_is_faulted() {
        let mut mailbox = Mailbox::EMPTY;
        mailbox.put(&Letter::new(
            Kind::Request(TicketId(9)),
            ServerId::nth(11),
            b"swap it",
        ));
        mailbox.timer(TimerId::nth(0));
        let faulted = ServerId::nth(4);
        mailbox.server_faulted(faulted);
        let next = mailbox.next(false);
        assert!(matches!(next, Some(Next::ServerFaulted(server)) if server == faulted));
    }

    #[test]
    fn an_edge_is_not_lost_when_the_line_has_fallen_again() {
        let mut mailbox = Mailbox::EMPTY;
        mailbox.line(LineId::nth(4), true, true);
        mailbox.line(LineId::nth(4), false, false);
        let Some(Next::Line(change)) = mailbox.next(false) else {
            panic!("no line")
        };
        assert_eq!(
            change,
            LineChange {
                line: LineId::nth(4),
                level: false,
                rose: true
            }
        );
        mailbox.done(Next::Line(change));
        assert!(mailbox.next(false).is_none());
    }
}
