//! The dry run: every effect, in order, against the server's rights and against what is left. After it, commit cannot fail.

use atoll_protocol::effect::{Effect, Forward, Mapping, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::layout::ram_offset;
use atoll_protocol::message::Stop;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{InitialState, SystemRegister};
use atoll_protocol::wire::effects;
use atoll_protocol::{COPY_BYTES, EFFECTS, INTERCHANGE_BYTES, MAIL_BYTES, PAGE, PORT_ACCESSES};

use crate::State;
use crate::machine::Machine;
use crate::mailbox::RESULTS;
use crate::server::Server;
use crate::ticket::{Operation, Ticket};

/// Longest that a ticket may be deferred, in milliseconds.
const DEFER_MS: u64 = 10_000;

/// What is to be done with an answer that broke no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Commit it.
    Commit,
    /// Commit nothing; ask again with registers.
    NeedRegisters,
    /// Commit nothing; a compare-and-swap would fail: ask again.
    Conflict,
}

/// The check of one answer.
pub struct Check<'k, M> {
    pub(crate) state: &'k State<M>,
    pub(crate) me: ServerId,
    answer: &'k [u8],
    server: &'k Server,
    ticket: Option<&'k Ticket>,
    /// Whether an effect has completed the ticket, or passed it on.
    closed: bool,
    verdict: Verdict,
    /// How many effects were checked: the last one broke the rule, if one did.
    pub seen: usize,
    results: u8,
    pub(crate) frames: u64,
    /// Bytes to be copied from the bundle, and ports to be accessed.
    copied: u64,
    accesses: u64,
    /// Whether it has not taken its place yet.
    waits: bool,
}

impl<'k, M: Machine> Check<'k, M> {
    /// Begins the check of `answer` by `me` to a message with `ticket` (0 for none).
    pub fn new(state: &'k State<M>, me: ServerId, ticket: TicketId, answer: &'k [u8]) -> Self {
        let server = &state.servers[me];
        let ticket = if ticket.0 == 0 {
            None
        } else {
            state
                .tickets
                .get(ticket)
                .filter(|ticket| ticket.holder == me)
        };
        Check {
            state,
            me,
            answer,
            server,
            ticket,
            closed: false,
            verdict: Verdict::Commit,
            seen: 0,
            results: server.results,
            frames: 0,
            copied: 0,
            accesses: 0,
            waits: state.is_successor(me),
        }
    }

    /// Checks the whole answer.
    ///
    /// # Errors
    /// The rule that it breaks; [`Check::seen`] says with which effect.
    pub fn run(&mut self) -> Result<Verdict, Reason> {
        let mut left = self.answer;
        while !left.is_empty() {
            let (effect, rest) = Effect::take(left).map_err(|_| Reason::Malformed)?;
            self.effect(&effect)?;
            require(self.seen < EFFECTS, Reason::TooManyEffects)?;
            self.seen += 1;
            left = rest;
        }
        require(self.ticket.is_none() || self.closed, Reason::TicketOpen)?;
        Ok(self.verdict)
    }

    fn effect(&mut self, effect: &Effect<'_>) -> Result<(), Reason> {
        let role = self.server.role;
        require(
            !self.waits || matches!(effect, Effect::Save(..) | Effect::Log(_)),
            Reason::NotInPlace,
        )?;
        require(
            self.verdict != Verdict::NeedRegisters || matches!(effect, Effect::Save(..)),
            Reason::WrongNeed,
        )?;
        match effect {
            Effect::Save(first, count) => {
                let end = u32::from(*first) + u32::from(*count);
                require(*count > 0 && end <= u32::from(self.server.limits.vault_lines), Reason::OutsideVault)
            }
            Effect::Leaf(_) => self.complete(|operation| operation == Operation::Cpuid),
            Effect::Value(_) => self.complete(|operation| {
                use Operation::{Hypercall, MmioRead, MmioWrite, MsrRead, PortRead, PortWrite};
                matches!(operation, PortRead | PortWrite | MsrRead | MmioRead | MmioWrite | Hypercall)
            }),
            Effect::Done => self.complete(|operation| {
                use Operation::{Load, MmioWrite, MsrWrite, PortWrite, PortWriteString};
                matches!(operation, PortWrite | MsrWrite | MmioWrite | PortWriteString | Load)
            }),
            Effect::Forward(forward, bytes) => {
                self.complete(|operation| matches!(operation, Operation::Emulate | Operation::Finish))?;
                require(forward.0.makes_sense(bytes.len()), Reason::BadValue)?;
                if forward.0.space == Forward::STAND_IN {
                    return self.state.in_memory(Gpa(forward.0.value), PAGE as u64);
                }
                Ok(())
            }
            Effect::Map(mapping) | Effect::Unmap(mapping) => self.state.mapping_makes_sense(self.me, &mapping.0),
            Effect::Resume => {
                self.complete(|operation| matches!(operation, Operation::Emulate | Operation::Finish | Operation::Load))
            }
            Effect::Offer(offer) => {
                require(self.server.role == RoleKind::Irqchip, Reason::WrongRole)?;
                require(offer.0.makes_sense(), Reason::BadValue)
            }
            Effect::Data(bytes) => self.complete(
                |operation| matches!(operation, Operation::PortReadString(length) if usize::from(length) == bytes.len()),
            ),
            Effect::Exception(exception) => {
                require(exception.0.vector < 32 && exception.0.vector != 2 && exception.0.has_error <= 1, Reason::BadValue)?;
                self.complete(|operation| {
                    matches!(operation, Operation::MsrRead | Operation::MsrWrite | Operation::Emulate | Operation::Finish)
                })
            }
            Effect::NeedRegisters => {
                let open = self.ticket.ok_or(Reason::WrongTicket)?;
                let alone = self.earlier().all(|effect| matches!(effect, Effect::Save(..)));
                require(open.operation == Operation::Emulate && !open.asked && alone && !self.closed, Reason::WrongNeed)?;
                self.closed = true;
                self.verdict = Verdict::NeedRegisters;
                Ok(())
            }
            Effect::Defer(until) => {
                self.complete(|operation| operation == Operation::Mail)?;
                let longest = self.state.machine.now().after(Ticks(self.state.machine.tsc_khz().wrapping_mul(DEFER_MS)));
                require(until.0 <= longest, Reason::BadValue)
            }
            Effect::Reply(ticket, bytes) => {
                let open = self.state.tickets.get(*ticket).filter(|open| open.holder == self.me);
                let open = open.ok_or(Reason::WrongTicket)?;
                require(open.operation == Operation::Mail, Reason::WrongReply)?;
                let again = self.earlier().any(|effect| matches!(effect, Effect::Reply(other, _) if other == *ticket));
                require(!again, Reason::WrongTicket)?;
                if self.ticket.is_some_and(|own| core::ptr::eq(own, open)) {
                    require(!self.closed, Reason::WrongTicket)?;
                    self.closed = true;
                }
                require(bytes.len() <= MAIL_BYTES, Reason::BadValue)
            }
            Effect::Register(number, _) => {
                require(role == RoleKind::Mmu, Reason::WrongRole)?;
                require(*number < 16 && self.ticket.is_some(), Reason::BadValue)
            }
            Effect::System(register, value) => {
                let may = match role {
                    RoleKind::Mmu => true,
                    RoleKind::Msr => matches!(register, SystemRegister::Efer | SystemRegister::Pat | SystemRegister::Tsc),
                    RoleKind::Irqchip => matches!(register, SystemRegister::TaskPriority | SystemRegister::ApicEnabled),
                    _ => false,
                };
                require(may, Reason::WrongRole)?;
                let exists = match register {
                    SystemRegister::Xcr0 => self.has_xcr0(value.0),
                    SystemRegister::TaskPriority => value.0 < 16,
                    SystemRegister::ApicEnabled => value.0 < 2,
                    _ => true,
                };
                require(self.ticket.is_some() && exists, Reason::BadValue)
            }
            Effect::Initial(vcpu, state) => {
                require(role == RoleKind::Loader, Reason::WrongRole)?;
                let load = self.ticket.is_some_and(|open| open.operation == Operation::Load);
                require(load && !self.state.running, Reason::BadValue)?;
                require(*vcpu == 0 && state.len() == size_of::<InitialState>(), Reason::BadValue)
            }
            Effect::GuestWrite(gpa, bytes) => {
                require(self.server.grants.guest_write, Reason::NotGranted)?;
                self.state.in_memory(gpa.0, bytes.len() as u64)
            }
            Effect::GuestCas(cas) => {
                require(self.server.grants.guest_write, Reason::NotGranted)?;
                let cas = cas.0;
                require(matches!(cas.size, 1 | 2 | 4 | 8) && cas.gpa.0.is_multiple_of(cas.size), Reason::BadValue)?;
                self.state.in_memory(cas.gpa, cas.size)?;
                // Each is compared with memory as it is before the answer.
                let end = cas.gpa.0.saturating_add(cas.size);
                let touches = |(at, length): (u64, u64)| at < end && cas.gpa.0 < at.saturating_add(length);
                require(!self.earlier().filter_map(|effect| written(&effect)).any(touches), Reason::BadValue)?;
                if !self.state.machine.guest_holds(cas.gpa, cas.old, cas.size) {
                    self.verdict = Verdict::Conflict;
                }
                Ok(())
            }
            Effect::GuestCopy(copy) => {
                require(self.server.grants.guest_write && self.server.grants.bundle, Reason::NotGranted)?;
                let end = copy.0.offset.checked_add(copy.0.length).ok_or(Reason::BadValue)?;
                require(end <= self.state.machine.bundle_size(), Reason::BadValue)?;
                self.copied = self.copied.saturating_add(copy.0.length);
                require(self.copied <= COPY_BYTES, Reason::TooManyEffects)?;
                self.state.in_memory(copy.0.gpa, copy.0.length)
            }
            Effect::Line(line, _) => require(self.server.grants.lines.contains(*line), Reason::NotGranted),
            Effect::Arm(timer, _) | Effect::Disarm(timer) => self.timer(*timer),
            Effect::PortOut(port, size, _) => {
                self.port(*port, *size)?;
                self.accesses(1)
            }
            Effect::PortIn(port, size) => {
                self.port(*port, *size)?;
                self.accesses(1)?;
                self.result()
            }
            Effect::Fill(fifo, bytes) => {
                self.port(fifo.status, 1)?;
                self.port(fifo.data, 1)?;
                require(fifo.burst > 0 && bytes.len() <= usize::from(u16::MAX), Reason::BadValue)?;
                // The status is looked at before each burst.
                self.accesses(bytes.len() as u64 + bytes.len().div_ceil(usize::from(fifo.burst)) as u64)?;
                self.result()
            }
            Effect::Drain(fifo, max) => {
                self.port(fifo.status, 1)?;
                self.port(fifo.data, 1)?;
                require(usize::from(*max) <= MAIL_BYTES, Reason::BadValue)?;
                self.accesses(2 * u64::from(*max))?;
                self.result()
            }
            Effect::Mail(to, bytes) => {
                self.credit(*to)?;
                require(bytes.len() <= MAIL_BYTES, Reason::BadValue)
            }
            Effect::Request(to, _, bytes) => {
                require(matches!(role, RoleKind::Supervisor | RoleKind::Control), Reason::WrongRole)?;
                self.credit(*to)?;
                let earlier = self.earlier().filter(|effect| matches!(effect, Effect::Request(..))).count();
                require(earlier == 0 && self.state.tickets.free_slot().is_some(), Reason::Exhausted)?;
                require(bytes.len() <= MAIL_BYTES, Reason::BadValue)?;
                self.result()
            }
            Effect::Log(_) => Ok(()),
            Effect::Query(_) => {
                require(role == RoleKind::Control, Reason::WrongRole)?;
                self.result()
            }
            Effect::Stop(why) => match (role, why) {
                (RoleKind::Supervisor, _) | (RoleKind::Power, Stop::PowerOff | Stop::Reset) => Ok(()),
                (RoleKind::Loader, Stop::Refused) => self.complete(|operation| operation == Operation::Load),
                _ => Err(Reason::WrongRole),
            },
            Effect::Exported(bytes) => {
                let again = self.earlier().any(|effect| matches!(effect, Effect::Exported(_)));
                require(!again && self.state.may_export(self.me) && bytes.len() <= INTERCHANGE_BYTES, Reason::BadValue)
            }
            Effect::Supervise(supervise) => {
                require(role == RoleKind::Supervisor, Reason::WrongRole)?;
                self.supervise(supervise)
            }
        }
    }

    /// The effects before the one that is being checked.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = Effect<'k>> + Clone + use<'k, M> {
        effects(self.answer).take(self.seen)
    }

    fn complete(&mut self, fits: impl FnOnce(Operation) -> bool) -> Result<(), Reason> {
        let open = self.ticket.ok_or(Reason::WrongTicket)?;
        require(!self.closed, Reason::TicketOpen)?;
        require(fits(open.operation), Reason::WrongReply)?;
        self.closed = true;
        Ok(())
    }

    /// Whether XSETBV takes this value; another would be the kernel's own general protection fault.
    #[cold]
    fn has_xcr0(&self, value: u64) -> bool {
        let host = self.state.machine.cpuid(0xd, 0);
        SystemRegister::is_xcr0(value, u64::from(host.edx) << 32 | u64::from(host.eax))
    }

    fn timer(&self, timer: TimerId) -> Result<(), Reason> {
        require(
            timer.number() < self.server.limits.timers,
            Reason::NotGranted,
        )
    }

    fn port(&self, port: u16, size: u8) -> Result<(), Reason> {
        require(matches!(size, 1 | 2 | 4), Reason::BadValue)?;
        require(self.server.grants.has_port(port, size), Reason::NotGranted)
    }

    /// Ports are accessed with interrupts off, and each access takes its time.
    fn accesses(&mut self, count: u64) -> Result<(), Reason> {
        self.accesses += count;
        require(self.accesses <= PORT_ACCESSES, Reason::TooManyEffects)
    }

    fn result(&mut self) -> Result<(), Reason> {
        self.results = self.results.saturating_add(1);
        require(self.results <= RESULTS, Reason::Credit)
    }

    fn credit(&self, to: ServerId) -> Result<(), Reason> {
        let credit = self.server.credit_to(to);
        require(credit > 0, Reason::NotGranted)?;
        let same = |effect: &Effect<'_>| matches!(effect, Effect::Mail(other, _) | Effect::Request(other, ..) if *other == to);
        let sent = self.earlier().filter(same).count();
        let outstanding = usize::from(self.server.undelivered_to(to));
        // Mail to a server that does not run may be lost: its fault must not become its correspondents'.
        let restarted = |effect: &Effect<'_>| matches!(effect, Effect::Supervise(Supervise::Restart(id)) if *id == to);
        let lost = !self.state.servers[to].is_running()
            && !self.earlier().any(|effect| restarted(&effect));
        require(
            lost || sent + outstanding < usize::from(credit),
            Reason::Credit,
        )
    }
}

/// The guest memory that an effect writes: where, and how many bytes.
fn written(effect: &Effect<'_>) -> Option<(u64, u64)> {
    match effect {
        Effect::GuestWrite(gpa, bytes) => Some((gpa.0.0, bytes.len() as u64)),
        Effect::GuestCas(cas) => Some((cas.0.gpa.0, cas.0.size)),
        Effect::GuestCopy(copy) => Some((copy.0.gpa.0, copy.0.length)),
        _ => None,
    }
}

#[inline(always)]
pub(crate) fn require(holds: bool, reason: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(reason) }
}

impl<M: Machine> State<M> {
    fn in_memory(&self, gpa: Gpa, length: u64) -> Result<(), Reason> {
        let size = self.machine.guest_size();
        let last = gpa
            .0
            .checked_add(length.max(1) - 1)
            .ok_or(Reason::OutsideMemory)?;
        let first = ram_offset(size, gpa.0).ok_or(Reason::OutsideMemory)?;
        // RAM below and above the devices' gap is one piece of host memory, but not of the guest's addresses.
        require(
            ram_offset(size, last).is_some_and(|end| end - first == last - gpa.0),
            Reason::OutsideMemory,
        )
    }

    #[inline(always)]
    pub(crate) fn mapping_makes_sense(
        &self,
        by: ServerId,
        mapping: &Mapping,
    ) -> Result<(), Reason> {
        require(self.servers[by].role == RoleKind::Mmu, Reason::WrongRole)?;
        require(
            matches!(mapping.size, Mapping::SMALL | Mapping::LARGE) && mapping.access < 4,
            Reason::BadValue,
        )?;
        require(mapping.gpa.0 & (mapping.size - 1) == 0, Reason::BadValue)?;
        // RAM begins and ends at multiples of the largest page: an aligned page is in it with its first byte.
        require(
            ram_offset(self.machine.guest_size(), mapping.gpa.0).is_some(),
            Reason::OutsideMemory,
        )
    }
}
