//! Carrying out an answer's effects, in order. All of them were checked: nothing here can fail.

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::effect::{Effect, Fifo, Forward, Signal};
use atoll_protocol::message::Stop;
use atoll_protocol::units::{LineId, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{InitialState, SystemRegister};
use zerocopy::FromBytes;

use crate::State;
use crate::delivery::Step;
use crate::machine::{Machine, Stale};
use crate::mailbox::{Kind, Letter};
use crate::ticket::{Operation, Ticket};
use crate::vcpu::Stand;
use crate::vcpu::vmcb::exit;

/// The supervisor's number.
const SUPERVISOR: ServerId = ServerId::SUPERVISOR;

impl<M: Machine> State<M> {
    /// Carries out one effect of an answer by `from` to the message with `ticket`; what follows from it goes to `step`.
    pub(crate) fn commit(
        &mut self,
        from: ServerId,
        ticket: TicketId,
        effect: &Effect<'_>,
        step: &mut Step,
    ) {
        match effect {
            Effect::Save(first, count) => self.machine.commit_vault(from, *first, *count),
            Effect::Leaf(leaf) => {
                self.vcpu.set_leaf(&leaf.0);
                self.finish_own();
            }
            Effect::Value(value) => *step = self.finish_access(ticket, value.0),
            Effect::Done => *step = self.finish_access(ticket, 0),
            Effect::Resume => self.resume(ticket),
            Effect::Map(mapping) => {
                let stale = self.machine.map(mapping.0);
                self.flush(stale);
            }
            Effect::Offer(offer) => self.vcpu.events.offer(offer.0),
            Effect::Forward(forward, bytes) => {
                self.keep_string(bytes);
                *step = self.pass_on(forward.0);
            }
            Effect::Data(bytes) => {
                self.keep_string(bytes);
                *step = self.finish_access(ticket, 0);
            }
            Effect::Exception(exception) => {
                if self.vcpu.has_stand_ins() {
                    self.end_stand_ins();
                }
                self.vcpu.raise(&exception.0);
                self.resume(ticket);
            }
            Effect::Defer(until) => {
                if let Some(open) = self.tickets.get_mut(ticket) {
                    open.deadline = until.0;
                    self.arm(until.0);
                }
            }
            Effect::Reply(to, bytes) => self.answer_request(*to, Some(bytes)),
            Effect::Register(number, value) => {
                self.vcpu.set_register(usize::from(*number), value.0)
            }
            Effect::System(register, value) => {
                self.vcpu
                    .set_system(*register, value.0, self.machine.now().0);
                if *register == SystemRegister::Xcr0 {
                    self.machine.set_xcr0(value.0);
                }
            }
            Effect::Initial(_, state) => {
                if let Ok(state) = InitialState::read_from_bytes(state) {
                    self.vcpu.initialise(&state);
                }
            }
            Effect::GuestWrite(gpa, bytes) => self.machine.guest_write(gpa.0, bytes),
            Effect::GuestCas(cas) => self.machine.guest_swap(cas.0),
            Effect::GuestCopy(copy) => {
                self.machine
                    .guest_copy(copy.0.gpa, copy.0.offset, copy.0.length)
            }
            Effect::Unmap(mapping) => {
                let stale = self.machine.unmap(mapping.0);
                self.flush(stale);
            }
            Effect::Line(line, signal) => self.line(*line, *signal),
            Effect::Arm(timer, at) => self.arm_for(from, *timer, at.0),
            Effect::Disarm(timer) => {
                self.timers.disarm(from, *timer);
                self.forget_timer(from, *timer);
            }
            Effect::PortOut(port, size, value) => self.machine.port_out(*port, *size, *value),
            Effect::PortIn(port, size) => {
                let value = self.machine.port_in(*port, *size);
                self.result(from, Kind::PortValue(value), &[]);
            }
            Effect::Fill(fifo, bytes) => {
                let taken = self.fill(*fifo, bytes);
                self.result(from, Kind::Filled(taken), &[]);
            }
            Effect::Drain(fifo, max) => self.drain_device(from, *fifo, *max),
            Effect::Mail(to, bytes) => self.mail(from, *to, Kind::Mail, bytes),
            Effect::Request(to, token, bytes) => self.request(from, *to, *token, bytes),
            Effect::Log(text) => self.log(from, text),
            Effect::Query(query) => self.query(from, *query),
            Effect::Stop(why) => {
                if from == SUPERVISOR {
                    self.wanted = false;
                    self.decide();
                    self.tell_faults();
                } else {
                    // An exit needs no end any more; whoever asks by mail still waits for its reply.
                    if self
                        .tickets
                        .get(ticket)
                        .is_some_and(|open| open.operation != Operation::Mail)
                    {
                        self.tickets.close(ticket);
                    }
                    self.stop(*why);
                }
            }
            Effect::Supervise(supervise) => self.carry_out(supervise),
            Effect::Exported(bytes) => self.exported(from, bytes),
            // It has kept the rest of the answer from being committed.
            Effect::NeedRegisters => {}
        }
    }

    /// What is stale is gone before the guest runs on.
    #[inline(always)]
    pub(crate) fn flush(&mut self, stale: Stale) {
        if stale.0 {
            self.vcpu.vmcb.control.tlb_control = 1;
        }
    }

    /// The guest was to be entered with everything flushed, and has exited: unless it was not entered at all, nothing is stale any more.
    #[cold]
    #[inline(never)]
    pub(crate) fn flushed(&mut self) {
        let control = &mut self.vcpu.vmcb.control;
        if control.exit_code as u32 != exit::INVALID {
            control.tlb_control = 0;
            self.machine.flushed();
        }
    }

    /// The vCPU's ticket becomes a device access.
    fn pass_on(&mut self, forward: Forward) -> Step {
        self.note_shape(&forward);
        self.tickets.vcpu_slot().forward = forward;
        Step::Forward
    }

    /// A device access is done: the exit's own, or a forwarded one.
    pub(crate) fn finish_access(&mut self, ticket: TicketId, value: u64) -> Step {
        let Some(Ticket {
            operation, forward, ..
        }) = self.tickets.get(ticket).copied()
        else {
            return Step::Committed;
        };
        match operation {
            Operation::Load => {
                self.tickets.close(ticket);
                self.post(SUPERVISOR, |mailbox| mailbox.loaded = true);
                return Step::Committed;
            }
            _ if forward.count != 0 => {
                match forward.finish {
                    Forward::RETURN => return Step::Return(forward.cut(value)),
                    Forward::LOAD => self.finish_load(value),
                    _ => self.finish_at(forward.rip_or_token),
                }
                return Step::Committed;
            }
            Operation::PortRead => self.vcpu.load_register(0, value, forward.size),
            Operation::MsrRead => self.vcpu.set_msr_value(value),
            Operation::Hypercall => self.vcpu.vmcb.save.rax = value,
            _ => {}
        }
        self.finish_own();
        Step::Committed
    }

    /// The vCPU goes on where it is; the loader is asked again.
    fn resume(&mut self, ticket: TicketId) {
        let Some(open) = self.tickets.get_mut(ticket) else {
            return;
        };
        let (operation, holder) = (open.operation, open.holder);
        open.operation = Operation::None;
        if operation == Operation::Load {
            self.post(holder, |mailbox| mailbox.load_again = true);
        } else {
            self.vcpu.stand = Stand::Runnable;
        }
    }

    fn keep_string(&mut self, bytes: &[u8]) {
        self.string
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self.string_length = bytes.len().min(self.string.len());
    }

    pub(crate) fn line(&mut self, line: LineId, signal: Signal) {
        let was = self.levels.contains(line);
        let level = signal == Signal::Raise;
        let rose = (level || signal == Signal::Pulse) && !was;
        self.levels.set(line, level);
        if let (Some(irqchip), true) = (self.routes.lines, rose || was != level) {
            self.post(irqchip, |mailbox| mailbox.line(line, level, rose));
        }
    }

    /// Arms a server's timer, or moves it.
    #[inline(always)]
    pub(crate) fn arm_for(&mut self, server: ServerId, timer: TimerId, at: Ticks) {
        self.timers.arm(server, timer, at);
        self.forget_timer(server, timer);
        self.arm(at);
    }

    fn forget_timer(&mut self, server: ServerId, timer: TimerId) {
        self.servers[server].mailbox.forget_timer(timer);
    }

    /// Sees to it that the hardware's timer fires at `at` or earlier.
    #[inline(always)]
    pub(crate) fn arm(&mut self, at: Ticks) {
        if at < self.armed {
            self.armed = at;
            self.machine.arm(at);
        }
    }

    fn fill(&mut self, fifo: Fifo, bytes: &[u8]) -> u16 {
        let mut taken = 0_u16;
        for burst in bytes.chunks(usize::from(fifo.burst.max(1))) {
            if self.machine.port_in(fifo.status, 1) as u8 & fifo.mask != fifo.mask {
                break;
            }
            burst
                .iter()
                .for_each(|byte| self.machine.port_out(fifo.data, 1, u32::from(*byte)));
            taken = taken.saturating_add(burst.len() as u16);
        }
        taken
    }

    fn drain_device(&mut self, from: ServerId, fifo: Fifo, max: u16) {
        let mut bytes = [0; MAIL_BYTES];
        let mut read = 0;
        for byte in bytes.iter_mut().take(usize::from(max)) {
            if self.machine.port_in(fifo.status, 1) as u8 & fifo.mask != fifo.mask {
                break;
            }
            *byte = self.machine.port_in(fifo.data, 1) as u8;
            read += 1;
        }
        self.result(from, Kind::Drained, bytes.get(..read).unwrap_or(&[]));
    }

    /// A result for a server that has a place reserved for it.
    pub(crate) fn result(&mut self, to: ServerId, kind: Kind, bytes: &[u8]) {
        let results = &mut self.servers[to].results;
        *results = results.saturating_add(1);
        self.post(to, |mailbox| mailbox.put(&Letter::new(kind, to, bytes)));
    }

    fn mail(&mut self, from: ServerId, to: ServerId, kind: Kind, bytes: &[u8]) {
        // Mail to a server that is gone is lost, as bytes to a device that is switched off are.
        if !self.takes_mail(from, to) {
            return;
        }
        let outstanding = &mut self.servers[from].outstanding[to];
        *outstanding = outstanding.saturating_add(1);
        self.post(to, |mailbox| mailbox.put(&Letter::new(kind, from, bytes)));
    }

    fn request(&mut self, from: ServerId, to: ServerId, token: u32, bytes: &[u8]) {
        let results = &mut self.servers[from].results;
        *results = results.saturating_add(1);
        let there = self.takes_mail(from, to);
        let Some(slot) = self.tickets.free_slot().filter(|_| there) else {
            self.post(from, |mailbox| {
                mailbox.put(&Letter::new(Kind::GivenUp(token), to, &[]))
            });
            return;
        };
        let ticket = self.tickets.open(slot, Operation::Mail, to, 0);
        if let Some(open) = self.tickets.get_mut(ticket) {
            (open.asker, open.token) = (Some(from), token);
        }
        self.mail(from, to, Kind::Request(ticket), bytes);
    }

    /// Completes a request by mail; `None` gives it up.
    pub(crate) fn answer_request(&mut self, ticket: TicketId, bytes: Option<&[u8]>) {
        let Some(open) = self.tickets.get(ticket).copied() else {
            return;
        };
        self.tickets.close(ticket);
        let Some(asker) = open.asker else {
            return;
        };
        if !self.is_served(asker) {
            // Nobody is there to be told; the place that was reserved is free again.
            let results = &mut self.servers[asker].results;
            *results = results.saturating_sub(1);
            return;
        }
        let kind = if bytes.is_some() {
            Kind::Answered(open.token)
        } else {
            Kind::GivenUp(open.token)
        };
        // Its place was reserved when the request was made.
        self.post(asker, |mailbox| {
            mailbox.put(&Letter::new(kind, open.holder, bytes.unwrap_or(&[])))
        });
    }

    /// Stops the vCPUs and tells the supervisor why; the first reason counts.
    pub(crate) fn stop(&mut self, why: Stop) {
        self.wanted = false;
        self.decide();
        self.vcpu.stand = Stand::Stopped;
        if self.stopped.is_none() {
            self.stopped = Some(why);
            self.post(SUPERVISOR, |mailbox| mailbox.stopped = Some(why));
        }
    }
}
