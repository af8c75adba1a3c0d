//! One activation: encode the message, run the server, decode the answer, check all of it, commit all of it.

use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Header};
use atoll_protocol::units::{ServerId, TicketId, Ticks};
use atoll_protocol::{PAGE, PANICKED, wire};
use zerocopy::{Immutable, IntoBytes};

use crate::check::{Check, Verdict};
use crate::machine::{Machine, Outcome, Pages};
use crate::report::Quoted;
use crate::statistics::record;
use crate::ticket::VCPU;
use crate::usual::LONGEST;
use crate::vcpu::Stand;
use crate::{Kernel, State};
use atoll_protocol::cause::Cause;

/// Times that a message is delivered again because guest memory changed under the server.
const AGAIN: usize = 16;
/// Milliseconds for which a server's run time is allotted.
const PERIOD_MS: u64 = 100;
/// Periods that are taken together where the host may steal time. What it steals falls on a server as often as the server runs: that tells
/// nothing of one period, but over so many it comes to the share that the server really has.
const PERIODS: u64 = 100;

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: all was committed.
    Committed,
    /// The ticket goes to the device whose address was named.
    Forward,
    /// The forwarded access is done with this value: back to the emulator.
    Return(u64),
    /// Nothing was committed: the same exit again, with registers.
    NeedRegisters,
    /// Nothing was committed: guest memory changed meanwhile; the same message again.
    Again,
    /// Nothing was committed: the server is at fault.
    Faulted,
}

/// A message that lies in its server's page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) to: ServerId,
    /// What waits for the answer; 0 if nothing does.
    pub(crate) ticket: TicketId,
    /// Bytes of the message.
    pub(crate) length: usize,
    /// When it was written.
    pub(crate) now: Ticks,
    pub(crate) cause: Cause,
}

impl<M: Machine> State<M> {
    /// The header of a message to `to`, written at `now`.
    #[inline(always)]
    pub(crate) fn header(&self, to: ServerId, ticket: TicketId, now: Ticks) -> Header {
        if self.routes.lines == Some(to) {
            let (tpr, accepted) = (
                self.vcpu.vmcb.control.vintr as u8,
                self.vcpu.events.accepted,
            );
            return Header {
                now,
                ticket,
                vcpu: 0,
                tpr,
                accepted,
            };
        }
        Header {
            now,
            ticket,
            vcpu: 0,
            tpr: 0,
            accepted: Header::NOT_ACCEPTED,
        }
    }

    /// Accounts an activation. A server that has used up its run time is at fault.
    #[inline(always)]
    fn account(&mut self, to: ServerId, began: Ticks) {
        let span = self.machine.now().0.wrapping_sub(began.0);
        let server = &mut self.servers[to];
        record(&mut server.time, span);
        if span > server.long.0 {
            server.forgive(span);
            self.long = true;
        }
        if server.time.sum > server.run_until {
            self.overrun(to, began, span);
        }
    }

    /// The answer was committed: what its message's header said is known.
    #[inline(always)]
    fn told(&mut self, to: ServerId) {
        if self.vcpu.events.accepted != Header::NOT_ACCEPTED && self.routes.lines == Some(to) {
            self.vcpu.events.accepted = Header::NOT_ACCEPTED;
        }
    }

    /// The run time of a server's period is used up: by an activation that took `span`. A new period begins with it, if the old one is
    /// over. (What is left of an old period's run time lasts until it is used up: so a period may see twice as much, and no more.)
    #[cold]
    #[inline(never)]
    fn overrun(&mut self, to: ServerId, began: Ticks, span: u64) {
        let periods = if self.machine.counts_instructions() {
            1
        } else {
            PERIODS
        };
        let one = self.machine.tsc_khz().wrapping_mul(PERIOD_MS);
        let period = Ticks(one.wrapping_mul(periods));
        let server = &mut self.servers[to];
        if server.allowance.0 >= one {
            // It may use all of its periods. That it leaves the guest time to run is seen to where messages are delivered.
            server.run_until = u64::MAX;
            return;
        }
        if began > server.period_end {
            server.period_end = began.after(period);
            let charged = span.min(server.budget.0);
            server.run_until = server
                .time
                .sum
                .wrapping_sub(charged)
                .saturating_add(server.allowance.0.saturating_mul(periods));
        }
        if server.time.sum > server.run_until {
            self.fault(to, Reason::Overrun, 0, &[]);
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Delivers a message that borrows nothing from the kernel.
    pub(crate) fn deliver(
        &mut self,
        to: ServerId,
        ticket: TicketId,
        cause: Cause,
        body: Body<'_>,
    ) -> Step {
        let header = self.state.header(to, ticket, self.state.machine.now());
        let length = encode(&mut self.pages, to, header, body);
        self.activate(Due {
            to,
            ticket,
            length,
            now: header.now,
            cause,
        })
    }

    /// Writes the message of an exit, which is one block: `tag` names it. `now` is read just before, or with the exit.
    #[inline(always)]
    pub(crate) fn write_exit<T: IntoBytes + Immutable>(
        &mut self,
        to: ServerId,
        ticket: TicketId,
        now: Ticks,
        cause: Cause,
        tag: u8,
        exit: &T,
    ) -> Due {
        let header = self.state.header(to, ticket, now);
        let length = wire::exit(self.pages.message(to), &header, tag, exit).unwrap_or(0);
        Due {
            to,
            ticket,
            length,
            now,
            cause,
        }
    }

    /// Runs the server on the message in its page, and judges the answer.
    #[inline(always)]
    pub(crate) fn activate(&mut self, due: Due) -> Step {
        self.activate_there(due.to, due.ticket, due.length, due.now, due.cause)
    }

    /// In registers, rather than as a structure in memory.
    #[inline(never)]
    fn activate_there(
        &mut self,
        to: ServerId,
        ticket: TicketId,
        length: usize,
        now: Ticks,
        cause: Cause,
    ) -> Step {
        self.activate_here(Due {
            to,
            ticket,
            length,
            now,
            cause,
        })
    }

    /// The same, where the exit is handled: most exits take one activation.
    #[inline(always)]
    pub(crate) fn activate_here(&mut self, due: Due) -> Step {
        let state = &mut self.state;
        let Due {
            to, ticket, now, ..
        } = due;
        let server = &mut state.servers[to];
        if !server.is_running() {
            return self.without(to, ticket, due.length);
        }
        server.remember(now, due.cause);
        let deadline = Ticks(now.0.wrapping_add(server.budget.0));
        #[cfg(not(feature = "fault-injection"))]
        let outcome = state
            .machine
            .activate(&mut self.pages, to, due.length, deadline);
        #[cfg(feature = "fault-injection")]
        let outcome = self.activate_injected(to, due.length, deadline);
        let Kernel { state, pages } = self;
        match outcome {
            Outcome::Answer(used) => {
                // Neither empty nor long.
                if used.wrapping_sub(1) < LONGEST as u64
                    && let Some(step) =
                        state.usual::<true>(to, ticket, pages.answer(to, used as usize))
                {
                    state.told(to);
                    state.account(to, now);
                    return step;
                }
                // In registers: this is rare, and a structure would be written for every answer.
                self.unusual(to, ticket, due.length, now, due.cause, used)
            }
            Outcome::Fault(reason) => {
                state.fault(to, reason, 0, pages.message(to));
                Step::Faulted
            }
        }
    }

    /// An answer of another form.
    #[inline(never)]
    fn unusual(
        &mut self,
        to: ServerId,
        ticket: TicketId,
        length: usize,
        now: Ticks,
        cause: Cause,
        used: u64,
    ) -> Step {
        let mut step = self.settle(to, ticket, now, &Outcome::Answer(used));
        for _ in 0..AGAIN {
            if step != Step::Again {
                return step;
            }
            // Guest memory is not as the server took it to be: the same message again.
            self.state.wasted(to, 1);
            step = self.activate_once(Due {
                to,
                ticket,
                length,
                now: self.state.machine.now(),
                cause,
            });
        }
        // An exit that finds no other end is given up, and the guest runs its instruction again; what lies in a mailbox stays there.
        if step == Step::Again
            && (ticket.0 & 0xff) as usize == VCPU
            && self.state.tickets.get(ticket).is_some()
        {
            self.state.tickets.close(ticket);
            self.state.vcpu.stand = Stand::Runnable;
            return Step::Committed;
        }
        step
    }

    /// Runs the server on the message in its page, once. Whatever comes ahead of a completion in its answer is looked at by the check.
    #[inline(never)]
    pub(crate) fn activate_once(&mut self, due: Due) -> Step {
        let Due {
            to,
            ticket,
            length,
            now,
            cause,
        } = due;
        let server = &mut self.state.servers[to];
        if !server.is_running() {
            return Step::Faulted;
        }
        server.remember(now, cause);
        let deadline = now.after(server.budget);
        #[cfg(not(feature = "fault-injection"))]
        let outcome = self
            .state
            .machine
            .activate(&mut self.pages, to, length, deadline);
        #[cfg(feature = "fault-injection")]
        let outcome = self.activate_injected(to, length, deadline);
        // What is only saved is judged in a straight line here, too: a successor may do that, and a server that is asked again.
        if let Outcome::Answer(used) = outcome
            && used.wrapping_sub(1) < LONGEST as u64
            && let Some(step) =
                self.state
                    .usual::<false>(to, ticket, self.pages.answer(to, used as usize))
        {
            self.state.told(to);
            self.state.account(to, now);
            return step;
        }
        self.settle(to, ticket, now, &outcome)
    }

    fn settle(&mut self, to: ServerId, ticket: TicketId, began: Ticks, outcome: &Outcome) -> Step {
        let judged = match outcome {
            Outcome::Answer(used) if *used <= PAGE as u64 => self.judge(to, ticket, *used as usize),
            Outcome::Answer(used) => Err((self.refuse(to, *used), 0)),
            Outcome::Fault(reason) => Err((*reason, 0)),
        };
        match judged {
            Ok(step) => {
                if step != Step::Again {
                    self.state.told(to);
                }
                self.state.account(to, began);
                step
            }
            Err((reason, effect)) => {
                self.state.fault(to, reason, effect, self.pages.message(to));
                Step::Faulted
            }
        }
    }

    /// A server that begins, or takes another's place, finds nothing in the pages that it reads: whose slot it was is not its business.
    #[cold]
    #[inline(never)]
    fn clear_pages(&mut self) {
        while let Some(slot) = self.state.new_owners.take_first() {
            self.pages.clear(slot);
        }
    }

    /// An answer's length that is none: the text of a panic, or nonsense.
    #[cold]
    fn refuse(&mut self, from: ServerId, length: u64) -> Reason {
        let text = length.wrapping_sub(PANICKED);
        if text > PAGE as u64 {
            return Reason::Oversized;
        }
        let text = Quoted(self.pages.answer(from, text as usize));
        self.state
            .tell(from, format_args!("server {from} panicked: {text}"));
        Reason::Panicked
    }

    /// Checks all of the answer, then commits all of it. It is decoded for either, rather than kept: the page does not change meanwhile,
    /// since the server does not run before all is over and no device can reach it.
    fn judge(
        &mut self,
        from: ServerId,
        ticket: TicketId,
        length: usize,
    ) -> Result<Step, (Reason, usize)> {
        let answer = self.pages.answer(from, length);
        let mut check = Check::new(&self.state, from, ticket, answer);
        match check.run().map_err(|reason| (reason, check.seen))? {
            Verdict::Commit => {
                let mut step = Step::Committed;
                wire::effects(answer)
                    .for_each(|effect| self.state.commit(from, ticket, &effect, &mut step));
                if !self.state.new_owners.is_empty() {
                    self.clear_pages();
                }
                Ok(step)
            }
            Verdict::Conflict => Ok(Step::Again),
            Verdict::NeedRegisters => {
                if let Some(open) = self.state.tickets.get_mut(ticket) {
                    open.asked = true;
                }
                Ok(Step::NeedRegisters)
            }
        }
    }
}

/// Writes a message into a server's page; its length.
pub(crate) fn encode<P: Pages>(
    pages: &mut P,
    to: ServerId,
    header: Header,
    body: Body<'_>,
) -> usize {
    // As a `Message`, whose body would have to be moved into it first. Every message fits by construction: its parts are bounded well below
    // a page.
    postcard::to_slice(&(Fixed(header), &body), pages.message(to)).map_or(0, |bytes| bytes.len())
}
