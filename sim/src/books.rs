//! The kernel's books, as far as they must balance whatever the servers do: nobody waits for nothing, every credit that is taken is for
//! a letter that lies in a mailbox, every place that is reserved for a result is for one that is there or will come, and no frame belongs
//! to a server that is none.

use atoll_core::server::Standing;
use atoll_core::ticket::{Operation, Ticket};
use atoll_core::vcpu::Stand;
use atoll_protocol::SERVERS;
use atoll_protocol::units::ServerId;

use crate::Kernel;

/// The books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Tickets of the guest's exits that are open.
    pub exits: usize,
    /// Whether the guest waits for one.
    pub waits: bool,
    /// Requests by mail that are open: who asked.
    pub requests: Vec<ServerId>,
    /// From whom, to whom: credit that is taken, and letters.
    pub mail: Vec<(ServerId, ServerId, usize, usize)>,
    /// Results that a server has a place for, and those that lie in its mailbox.
    pub results: Vec<(ServerId, usize, usize)>,
    /// Frames of slots in which there is no server.
    pub stray_frames: u64,
    /// Frames that nobody has.
    pub free_frames: u64,
}

/// Who waits for the answer, if it is a request and somebody does.
fn asker(ticket: &Ticket) -> Option<ServerId> {
    ticket.asker.filter(|_| ticket.operation == Operation::Mail)
}

impl Books {
    /// Those of a machine, between two steps.
    #[must_use]
    pub fn of(kernel: &Kernel) -> Self {
        let state = &kernel.state;
        let tickets = || state.tickets.named().map(|(_, ticket)| ticket);
        let mut books = Self {
            exits: tickets()
                .filter(|ticket| !matches!(ticket.operation, Operation::Mail | Operation::Load))
                .count(),
            waits: state.vcpu.stand == Stand::Waiting,
            requests: tickets().filter_map(asker).collect(),
            free_frames: state.machine.frames.free(),
            ..Self::default()
        };
        for (to, server) in state.servers.iter() {
            let mut letters = [0; SERVERS];
            let mut results = 0;
            for (from, _) in server.letters() {
                match from {
                    // What a fault orders is as if the supervisor had asked itself, which has no credit for that.
                    Some(from) if from == to => {}
                    Some(from) => letters[from.index()] += 1,
                    None => results += 1,
                }
            }
            for (from, letters) in ServerId::all().zip(letters) {
                let taken = usize::from(state.servers[from].undelivered_to(to));
                if taken + letters > 0 {
                    books.mail.push((from, to, taken, letters));
                }
            }
            if usize::from(server.results) + results > 0 {
                books
                    .results
                    .push((to, usize::from(server.results), results));
            }
            if server.standing == Standing::Empty {
                books.stray_frames += state.machine.frames.held(to);
            }
        }
        books
    }

    /// Whether they balance.
    ///
    /// # Errors
    /// What does not.
    pub fn balance(&self) -> Result<(), String> {
        if self.exits != usize::from(self.waits) {
            return Err(format!(
                "{} exits are open, expected {}: the guest {}",
                self.exits,
                usize::from(self.waits),
                if self.waits { "waits" } else { "does not wait" }
            ));
        }
        if let Some((from, to, taken, letters)) = self
            .mail
            .iter()
            .find(|(_, _, taken, letters)| taken != letters)
        {
            return Err(format!(
                "server {} has used {taken} credits for mail to server {}, which has {letters} undelivered letters",
                from.number(),
                to.number()
            ));
        }
        for (server, reserved, there) in &self.results {
            let awaited = self
                .requests
                .iter()
                .filter(|asker| *asker == server)
                .count();
            if *reserved != there + awaited {
                return Err(format!(
                    "server {} has reserved {reserved} places, expected {}: {there} results are there and {awaited} are to come",
                    server.number(),
                    there + awaited
                ));
            }
        }
        let unheard = self
            .requests
            .iter()
            .find(|asker| !self.results.iter().any(|(server, ..)| server == *asker));
        if let Some(asker) = unheard {
            return Err(format!(
                "server {} waits for an answer and has no place reserved for it",
                asker.number()
            ));
        }
        if self.stray_frames > 0 {
            return Err(format!("{} frames belong to no server", self.stray_frames));
        }
        Ok(())
    }

    /// Whether nothing is under way any more: all tickets are closed, all mail is delivered, and there are as many free frames as there were
    /// in the `beginning`.
    ///
    /// # Errors
    /// What is left.
    pub fn closed(&self, beginning: &Books) -> Result<(), String> {
        self.balance()?;
        let left = self.exits + self.requests.len() + self.mail.len() + self.results.len();
        if left > 0 {
            return Err(format!("expected nothing to be open at the end: {self:?}"));
        }
        if self.free_frames != beginning.free_frames {
            return Err(format!(
                "{} frames are free, expected {} as at the beginning",
                self.free_frames, beginning.free_frames
            ));
        }
        Ok(())
    }
}
