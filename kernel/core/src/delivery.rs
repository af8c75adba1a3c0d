//! One activation: encode the message, run the server, decode the answer, check all of it, commit all of it.

use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Header, Message};
use atoll_protocol::units::{ServerId, TicketId, Ticks};
use atoll_protocol::{PAGE, PANICKED, wire};
use zerocopy::{Immutable, IntoBytes};

use crate::check::{Check, Verdict};
use crate::commit::Commit;
use crate::machine::{Machine, Outcome, Pages};
use crate::statistics::record;
use crate::ticket::VCPU;
use crate::vcpu::Stand;
use crate::{Kernel, State};

/// Times that a message is delivered again because guest memory changed under the server.
const AGAIN: usize = 16;

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

/// An activation's cause, for the report: a name and one number that tells it from others of its kind.
#[derive(Clone, Copy, Debug)]
pub struct Cause(pub &'static str, pub u64);

impl<M: Machine> State<M> {
    /// The header of a message to `to`, now.
    #[inline(always)]
    pub(crate) fn header(&self, to: ServerId, ticket: TicketId) -> Header {
        let mut header = Header { now: self.machine.now(), ticket, vcpu: 0, tpr: 0, accepted: Header::NOT_ACCEPTED };
        if self.routes.lines == Some(to) {
            header.tpr = self.vcpu.vmcb.control.vintr as u8;
            header.accepted = self.vcpu.events.accepted();
        }
        header
    }

    /// Accounts an activation; true if the server has used up its period's run time.
    #[inline(always)]
    fn account(&mut self, to: ServerId, began: Ticks) -> bool {
        let span = self.machine.now().since(began).0;
        let Some(server) = self.servers.get_mut(usize::from(to.0)) else { return false };
        record(&mut server.time, span);
        if began > server.period_end {
            server.period_end = began.after(Ticks(self.machine.tsc_khz().wrapping_mul(100)));
            server.period_used = 0;
        }
        server.period_used = server.period_used.saturating_add(span);
        server.period_used > server.allowance.0
    }
}

impl<M: Machine> Kernel<M> {
    /// Delivers a message that borrows nothing from the kernel.
    #[inline(always)]
    pub(crate) fn deliver(&mut self, to: ServerId, ticket: TicketId, cause: Cause, body: Body<'_>) -> Step {
        let header = self.state.header(to, ticket);
        let length = encode(&mut self.pages, to, header, body);
        self.activate(to, &header, length, cause)
    }

    /// Delivers an exit whose message is one block: `tag` names it.
    #[inline(always)]
    pub(crate) fn deliver_exit<T: IntoBytes + Immutable>(
        &mut self,
        to: ServerId,
        ticket: TicketId,
        cause: Cause,
        tag: u8,
        exit: &T,
    ) -> Step {
        let header = self.state.header(to, ticket);
        let length = wire::exit(self.pages.message(to), &header, tag, exit).unwrap_or(0);
        self.activate(to, &header, length, cause)
    }

    /// Runs the server on the message in its page, and judges the answer.
    #[inline(always)]
    pub(crate) fn activate(&mut self, to: ServerId, header: &Header, length: usize, cause: Cause) -> Step {
        match self.activate_once(to, header, length, header.now, cause) {
            Step::Again => self.activate_again(to, header, length, cause),
            step => step,
        }
    }

    /// Guest memory is not as the server took it to be: the same message again. An exit that finds no other end is given up, and the
    /// guest runs its instruction again; what lies in a mailbox stays there.
    #[cold]
    #[inline(never)]
    fn activate_again(&mut self, to: ServerId, header: &Header, length: usize, cause: Cause) -> Step {
        for _ in 0..AGAIN {
            let now = self.state.machine.now();
            let step = self.activate_once(to, header, length, now, cause);
            if step != Step::Again {
                return step;
            }
        }
        if (header.ticket.0 & 0xff) as usize != VCPU || self.state.tickets.get(header.ticket).is_none() {
            return Step::Again;
        }
        self.state.tickets.close(header.ticket);
        self.state.vcpu.stand = Stand::Runnable;
        Step::Committed
    }

    #[inline(always)]
    fn activate_once(&mut self, to: ServerId, header: &Header, length: usize, began: Ticks, cause: Cause) -> Step {
        let Some(server) = self.state.server_mut(to).filter(|server| server.is_running()) else { return Step::Faulted };
        server.remember(began, cause);
        let deadline = began.after(server.budget);
        let step = match self.state.machine.activate(&mut self.pages, to, length, deadline) {
            Outcome::Answer(length) if length <= PAGE as u64 => self.judge(to, header.ticket, length as usize),
            Outcome::Answer(length) => Err((self.refuse(to, length), 0)),
            Outcome::Fault(reason) => Err((reason, 0)),
        };
        let overrun = self.state.account(to, began);
        match step {
            Ok(step) => {
                if header.accepted != Header::NOT_ACCEPTED && step != Step::Again {
                    self.state.vcpu.events.told();
                }
                if overrun {
                    self.state.fault(to, Reason::Overrun, 0);
                }
                step
            }
            Err((reason, effect)) => {
                self.state.fault(to, reason, effect);
                Step::Faulted
            }
        }
    }

    /// An answer's length that is none: the text of a panic, or nonsense.
    #[cold]
    fn refuse(&mut self, from: ServerId, length: u64) -> Reason {
        let text = length.wrapping_sub(PANICKED);
        if text > PAGE as u64 {
            return Reason::Oversized;
        }
        let text = self.pages.answer(from, text as usize);
        let text = core::str::from_utf8(text).unwrap_or("(a panic whose text is no text)");
        self.state.machine.log(format_args!("server {} panicked: {text}", from.0));
        Reason::Panicked
    }

    /// Checks all of the answer, then commits all of it. It is decoded for either, rather than kept: that is cheaper, and the page does not
    /// change meanwhile, since the server does not run before all is over and no device can reach it.
    #[inline(always)]
    fn judge(&mut self, from: ServerId, ticket: TicketId, length: usize) -> Result<Step, (Reason, usize)> {
        let answer = self.pages.answer(from, length);
        let mut check = Check::new(&self.state, from, ticket, answer);
        wire::visit(answer, &mut check).map_err(|reason| (reason, check.seen()))?;
        match check.finish().map_err(|reason| (reason, check.seen()))? {
            Verdict::Commit => {
                let mut commit = Commit { state: &mut self.state, from, ticket, step: Step::Committed };
                let _ = wire::visit(answer, &mut commit);
                Ok(commit.step)
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
#[inline(always)]
pub(crate) fn encode<P: Pages>(pages: &mut P, to: ServerId, header: Header, body: Body<'_>) -> usize {
    let message = Message { header: Fixed(header), body };
    // Every message fits by construction: its parts are bounded well below a page.
    postcard::to_slice(&message, pages.message(to)).map_or(0, |bytes| bytes.len())
}
