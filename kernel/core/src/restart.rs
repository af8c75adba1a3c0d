//! What becomes of a server that breaks a rule: it is restarted, or its role's fallbacks answer for it.
//!
//! Its slot keeps everything that was committed: mail, results and interrupts that it has not handled, armed timers, levels of lines,
//! requests that it still has to answer. Only what it runs on is made anew: memory from the bundle, the vault's working copy from the
//! committed one. Then it is told, and gets again what it had not handled.
//!
//! Of the vCPU's exit the kernel knows where it stood. One that no server has begun to carry out is none: the guest executes the instruction
//! again. A forwarded access is delivered to the device again, and its result to the emulator.
//!
//! While a server is away the vCPUs do not run, so that a guest cannot notice, and nobody's mail outgrows its credit meanwhile.

use atoll_protocol::effect::Signal;
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Held, Message, Stop};
use atoll_protocol::role;
use atoll_protocol::units::{ServerId, TicketId, Ticks};

use crate::delivery::Step;
use crate::machine::{Machine, Pages};
use crate::mailbox::{Kind as Letter, Mailbox, Next};
use crate::server::Standing;
use crate::statistics::Kind;
use crate::ticket::{Operation, SLOTS, Ticket};
use crate::vcpu::Stand;
use crate::{Kernel, State};
use atoll_protocol::cause::{Cause, What};

/// The code that the host leaves with when the supervisor cannot be restarted.
const HYPERVISOR_FAULT: u8 = 20;
/// How often the supervisor is restarted over one message.
const SUPERVISOR_ATTEMPTS: u8 = 5;
/// How often it may fail over what a server has asked of it before that is dropped.
const ORDER_ATTEMPTS: u8 = 3;

/// The supervisor's last fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relapse {
    handled: u64,
    attempts: u8,
}

impl Relapse {
    pub(crate) const NONE: Relapse = Relapse {
        handled: 0,
        attempts: 0,
    };
}

/// Whether no server has begun to carry out what the exit wants: nothing of it has been committed but what makes trying again right.
fn is_untouched(ticket: &Ticket) -> bool {
    ticket.forward.count == 0 && ticket.operation != Operation::Finish
}

impl<M: Machine> State<M> {
    /// Whether the vCPUs may run, after something changed about it.
    pub(crate) fn decide(&mut self) {
        self.running = self.wanted && self.absent.is_empty() && self.leave.is_none();
    }

    /// The guest waits for this server from here on.
    pub(crate) fn hold(&mut self, id: ServerId, why: Kind) {
        if self.wanted && self.absent.is_empty() {
            self.statistics.switch(self.machine.now(), why);
        }
        self.absent.insert(id);
        self.decide();
    }

    /// Counts deliveries that came to nothing.
    pub(crate) fn wasted(&mut self, id: ServerId, count: u64) {
        let wasted = &mut self.servers[id].wasted;
        *wasted = wasted.wrapping_add(count);
    }

    /// A server has just been faulted; how many messages its slot has handled.
    pub(crate) fn fell(&mut self, id: ServerId) -> u64 {
        self.hold(id, Kind::Recovery);
        if let Some(ticket) = self.tickets.load_held_by(id) {
            self.tickets.close(ticket);
        }
        let asked = self.shelve(id);
        self.wasted(id, u64::from(asked));
        self.servers[id].handled()
    }

    /// The guest executes again what waits for this server, unless it was carried out in part; whether registers had been asked for.
    fn shelve(&mut self, id: ServerId) -> bool {
        let Some((name, ticket)) = self
            .tickets
            .exit_held_by(id)
            .filter(|(_, ticket)| is_untouched(ticket))
        else {
            return false;
        };
        self.tickets.close(name);
        if self.vcpu.stand == Stand::Waiting {
            self.vcpu.stand = Stand::Runnable;
        }
        ticket.asked
    }

    /// Faults a server that has done nothing wrong.
    #[cold]
    pub(crate) fn kill(&mut self, id: ServerId) {
        self.servers[id].mailbox.done(Next::Killed);
        self.fault(id, Reason::Killed, 0, &[]);
    }

    /// Lets a server begin anew, with its committed vault.
    pub fn restart(&mut self, id: ServerId) {
        let server = &mut self.servers[id];
        server.standing = Standing::Running;
        server.generation = server.generation.wrapping_add(1);
        server.restarts = server.restarts.saturating_add(1);
        server.period_end = Ticks(0);
        for segment in server.segments.iter().take(server.segment_count) {
            self.machine.refill_segment(id, segment);
        }
        self.machine.restore_vault(id);
        self.begin_again(id);
    }

    /// The server is told that it begins anew. The guest waits until it has heard it: what it says to that may be what the guest must not miss.
    pub(crate) fn begin_again(&mut self, id: ServerId) {
        self.post(id, Mailbox::restart);
    }

    /// The supervisor has no other: it is restarted at once, unless that does not help. A fault on request does not count.
    pub(crate) fn revive_supervisor(&mut self, reason: Reason, handled: u64) {
        if reason != Reason::Killed {
            let again = handled <= self.relapse.handled.wrapping_add(1);
            self.relapse = Relapse {
                handled,
                attempts: if again {
                    self.relapse.attempts.saturating_add(1)
                } else {
                    1
                },
            };
        }
        if self.relapse.attempts > SUPERVISOR_ATTEMPTS {
            self.leave_with(HYPERVISOR_FAULT);
        } else {
            self.restart(ServerId::SUPERVISOR);
        }
    }

    /// The supervisor has failed over this message. If that is mail, over which it fails again and again, it is dropped, and a request is
    /// given up: what somebody asks for must not end the host.
    #[cold]
    pub(crate) fn drop_poison(&mut self, next: Next) {
        if self.relapse.attempts < ORDER_ATTEMPTS {
            return;
        }
        let letter = self.servers[ServerId::SUPERVISOR].mailbox.letter();
        let (kind, from) = (letter.kind, letter.from);
        if !matches!(next, Next::Letter) || kind.is_result() {
            return;
        }
        self.relapse.attempts = 0;
        self.machine.log(format_args!(
            "the supervisor fails over what server {from} asks of it: it is dropped"
        ));
        self.take_out(ServerId::SUPERVISOR, next);
        if let Letter::Request(ticket) = kind {
            self.answer_request(ticket, None);
        }
    }

    /// Gives a server up: what waits for it, now and later, is completed as its role declares.
    pub(crate) fn quarantine(&mut self, id: ServerId) {
        self.tell_faults();
        self.forsake(id);
        let server = &mut self.servers[id];
        server.standing = Standing::Quarantined;
        for line in server.grants.lines.iter() {
            self.line(line, Signal::Lower);
        }
        self.shelve(id);
        self.return_of(id);
    }

    /// Takes away what a server has yet to handle: its timers, its mail, the requests that it should have answered.
    pub(crate) fn forsake(&mut self, id: ServerId) {
        while let Some(ticket) = self.tickets.request_held_by(id) {
            self.answer_request(ticket, None);
        }
        if let Some(ticket) = self.tickets.load_held_by(id) {
            self.tickets.close(ticket);
        }
        self.timers.clear(id);
        let awaited = self
            .tickets
            .named()
            .filter(|(_, ticket)| ticket.operation == Operation::Mail && ticket.asker == Some(id))
            .count();
        let server = &mut self.servers[id];
        server.mailbox.forget();
        server.results = awaited as u8;
        for (_, sender) in self.servers.iter_mut() {
            sender.outstanding[id] = 0;
        }
        self.return_of(id);
        self.ready.remove(id);
    }

    /// The guest need not wait for this server any more.
    pub(crate) fn return_of(&mut self, id: ServerId) {
        self.absent.remove(id);
        self.decide();
        self.ready.insert(id);
    }

    /// Whether a server takes messages, or will again.
    pub(crate) fn is_served(&self, id: ServerId) -> bool {
        matches!(
            self.servers[id].standing,
            Standing::Running | Standing::Faulted | Standing::Held
        )
    }

    /// Whether mail to a server that does not run is kept for it: it will run again, and the sender's credit is not used up.
    #[cold]
    fn keeps(&self, from: ServerId, to: ServerId) -> bool {
        let sender = &self.servers[from];
        self.is_served(to) && sender.undelivered_to(to) < sender.credit_to(to)
    }

    /// Whether mail reaches its receiver, now or later.
    pub(crate) fn takes_mail(&self, from: ServerId, to: ServerId) -> bool {
        self.servers[to].is_running() || self.keeps(from, to)
    }
}

impl<M: Machine> Kernel<M> {
    /// Tells a server that it was restarted, then carries on what waits for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn deliver_restarted(&mut self, to: ServerId) {
        let server = &self.state.servers[to];
        let (reason, cause) = (
            server.fault,
            Cause(What::Restarted, u64::from(server.generation)),
        );
        let mut held = Held::default();
        let requests = self
            .state
            .tickets
            .named()
            .filter(|(_, ticket)| ticket.holder == to && ticket.operation == Operation::Mail);
        held.tickets
            .iter_mut()
            .zip(requests)
            .for_each(|(place, (name, _))| *place = name);
        let step = self.deliver(to, TicketId(0), cause, Body::Restarted(reason, Fixed(held)));
        self.state.delivered(to, Next::Restarted, step);
        // What a successor is about to take over waits for it.
        if step == Step::Committed && !self.state.may_export(to) {
            self.carry_on(to);
        }
    }

    /// Nothing waits in a server's mailbox; if that is because it was given up, an exit may still wait for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn nothing_for(&mut self, to: ServerId) {
        if self.state.servers[to].standing == Standing::Quarantined {
            self.carry_on(to);
        }
    }

    /// Carries on the access that waits for this server, if there is one.
    fn carry_on(&mut self, to: ServerId) {
        let begun = self
            .state
            .tickets
            .exit_held_by(to)
            .filter(|(_, ticket)| !is_untouched(ticket));
        let Some((name, ticket)) = begun else { return };
        let returns = ticket.operation == Operation::Finish;
        self.go_on(
            name,
            if returns {
                Step::Return(ticket.forward.value)
            } else {
                Step::Forward
            },
        );
    }

    /// A message for a server that takes none. One that will be back gets it then; for one that was given up its role answers.
    #[cold]
    #[inline(never)]
    pub(crate) fn without(&mut self, to: ServerId, ticket: TicketId, length: usize) -> Step {
        let server = &self.state.servers[to];
        if server.standing != Standing::Quarantined {
            self.state.shelve(to);
            return Step::Faulted;
        }
        let role = server.role;
        let name = server.name;
        self.state.tell(
            to,
            format_args!("{}: given up: its role's fallback answers", name.text()),
        );
        let message = self
            .pages
            .message(to)
            .get(..length)
            .and_then(|bytes| Message::read(bytes).ok());
        let Some(effect) = message.and_then(|message| role::fallback(role, &message)) else {
            self.state.stop(Stop::ServerFault);
            return Step::Faulted;
        };
        let mut step = Step::Committed;
        self.state.commit(to, ticket, &effect, &mut step);
        step
    }
}

const _: () = assert!(
    size_of::<Held>() == SLOTS * size_of::<TicketId>(),
    "a server can be told of all that it holds"
);
