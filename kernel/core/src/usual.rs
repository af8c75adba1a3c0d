//! Answers of the usual form, judged in one straight line: nearly every exit is answered by one completion and the vault lines that
//! changed with it.
//!
//! The form is: an offer, a mapping, a timer armed, or none of these; the completion of the vCPU's ticket; saved lines. As everywhere, all of it is checked
//! before any of it is committed. What has another form, or breaks a rule, is left untouched: [`Check`](crate::check::Check) then looks
//! at all of it, knows the rule, and must agree with what is done here (a test plays both on the same answers).

use atoll_protocol::effect::{Forward, Mapping, Offer};
use atoll_protocol::message::Leaf;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::wire::{tag, take};

use crate::State;
use crate::delivery::Step;
use crate::machine::Machine;
use crate::ticket::Operation;
use crate::vcpu::Stand;

/// Longest answer of the usual form, in bytes; it has fewer effects than an answer may have, since none is shorter than a byte.
pub(crate) const LONGEST: usize = 44;
/// Descriptions of accesses that are remembered.
pub(crate) const SHAPES: usize = 16;
const _: () = assert!(LONGEST < atoll_protocol::EFFECTS);

impl<M: Machine> State<M> {
    /// Judges an answer, if it is of the usual form and breaks no rule; else nothing has happened. It is not longer than [`LONGEST`]. What may
    /// come ahead of the completion is looked for in the `WHOLE` answer only.
    #[inline(always)]
    pub(crate) fn usual<const WHOLE: bool>(
        &mut self,
        from: ServerId,
        ticket: TicketId,
        answer: &[u8],
    ) -> Option<Step> {
        let Some((tag, rest)) = answer.split_first() else {
            return (ticket.0 == 0).then_some(Step::Committed);
        };
        match *tag {
            tag::LEAF => {
                // A CPUID server has nothing to save, as a rule.
                let (leaf, []) = take::<Leaf>(rest)? else {
                    return None;
                };
                self.tickets
                    .vcpu(ticket, from)
                    .filter(|open| open.operation == Operation::Cpuid)?;
                self.vcpu.set_leaf(&leaf.0);
                self.finish_own();
            }
            tag::VALUE => {
                let (value, saves) = take::<u64>(rest)?;
                let open = self.tickets.vcpu(ticket, from)?;
                let (operation, own) = (open.operation, open.forward.count == 0);
                // What is read changes nothing, as a rule.
                if !saves.is_empty() {
                    self.may_save(from, saves)?;
                }
                match operation {
                    Operation::PortRead if own => {
                        self.vcpu.load_register(0, value.0, open.forward.size);
                        self.finish_own();
                    }
                    Operation::PortWrite if own => self.finish_own(),
                    Operation::MsrRead => {
                        self.vcpu.set_msr_value(value.0);
                        self.finish_own();
                    }
                    Operation::Hypercall => {
                        self.vcpu.vmcb.save.rax = value.0;
                        self.finish_own();
                    }
                    Operation::MmioRead if open.forward.finish == Forward::LOAD => {
                        self.finish_load(value.0)
                    }
                    _ => return None,
                }
                if !saves.is_empty() {
                    self.save(from, saves);
                }
            }
            tag::DONE => {
                let open = self.tickets.vcpu(ticket, from)?;
                self.may_save(from, rest)?;
                match open.operation {
                    Operation::PortWrite if open.forward.count == 0 => self.finish_own(),
                    Operation::MsrWrite => self.finish_own(),
                    Operation::MmioWrite if open.forward.finish == Forward::STORE => {
                        self.finish_at(open.forward.rip_or_token)
                    }
                    _ => return None,
                }
                self.save(from, rest);
            }
            tag::FORWARD => {
                // Checking what describes an access takes long, and they are few: what is as it was before is as good.
                let (words, rest) = take::<[u64; 5]>(rest)?;
                let [.., count, shape] = words.0;
                let open = self.tickets.vcpu(ticket, from)?;
                let fits = matches!(open.operation, Operation::Emulate | Operation::Finish)
                    && *rest == [0];
                if !fits || count != 1 || self.good_shapes.get(place_of(shape)) != Some(&shape) {
                    return None;
                }
                self.tickets.vcpu_slot().forward = zerocopy::transmute!(words.0);
                return Some(Step::Forward);
            }
            tag::SAVE if ticket.0 == 0 => {
                self.may_save(from, answer)?;
                self.save(from, answer);
            }
            tag::OFFER if WHOLE => return self.offered(from, ticket, rest),
            tag::ARM if WHOLE => return self.armed(from, ticket, rest),
            tag::MAP if WHOLE => return self.mapped(from, ticket, rest),
            _ => return None,
        }
        Some(Step::Committed)
    }

    /// An offer, and the rest.
    #[inline(never)]
    fn offered(&mut self, from: ServerId, ticket: TicketId, answer: &[u8]) -> Option<Step> {
        let (offer, rest) = take::<Offer>(answer)?;
        let may = self.servers[from].role == RoleKind::Irqchip && offer.0.makes_sense();
        let step = if may {
            self.usual::<false>(from, ticket, rest)?
        } else {
            return None;
        };
        self.vcpu.events.offer(offer.0);
        Some(step)
    }

    /// A timer armed, and the rest: every tick of a guest with a TSC deadline.
    #[inline(never)]
    fn armed(&mut self, from: ServerId, ticket: TicketId, answer: &[u8]) -> Option<Step> {
        let (timer, rest) = answer.split_first()?;
        let (at, rest) = take::<Ticks>(rest)?;
        let own = self.servers[from].limits.timers;
        let timer = TimerId::new(*timer).filter(|timer| timer.number() < own)?;
        let step = self.usual::<false>(from, ticket, rest)?;
        self.arm_for(from, timer, at.0);
        Some(step)
    }

    /// A mapping, for the exit that wanted it.
    #[inline(never)]
    fn mapped(&mut self, from: ServerId, ticket: TicketId, answer: &[u8]) -> Option<Step> {
        let (mapping, rest) = take::<Mapping>(answer)?;
        self.tickets
            .vcpu(ticket, from)
            .filter(|open| open.operation == Operation::Emulate && *rest == [tag::RESUME])?;
        self.mapping_makes_sense(from, &mapping.0).ok()?;
        let stale = self.machine.map(mapping.0);
        self.flush(stale);
        self.tickets.vcpu_slot().operation = Operation::None;
        self.vcpu.stand = Stand::Runnable;
        Some(Step::Committed)
    }

    /// Whether what is left of an answer is saved lines, all of them the server's, and nothing else.
    #[inline(always)]
    fn may_save(&self, from: ServerId, mut saves: &[u8]) -> Option<()> {
        while let Some((save, rest)) = saves.split_first_chunk() {
            // A number from 128 on would take two bytes.
            let [tag::SAVE, first @ 0..128, count @ 1..128] = save else {
                return None;
            };
            if u16::from(*first) + u16::from(*count) > self.servers[from].limits.vault_lines {
                return None;
            }
            saves = rest;
        }
        saves.is_empty().then_some(())
    }

    #[inline(always)]
    fn save(&mut self, from: ServerId, mut saves: &[u8]) {
        while let Some(([_, first, count], rest)) = saves.split_first_chunk() {
            self.machine
                .commit_vault(from, u16::from(*first), u16::from(*count));
            saves = rest;
        }
    }

    /// A forward was checked: from now on its like, to device memory, need not be.
    pub(crate) fn note_shape(&mut self, forward: &Forward) {
        let [.., count, shape]: [u64; 5] = zerocopy::transmute!(*forward);
        if let (Some(place), true) = (
            self.good_shapes.get_mut(place_of(shape)),
            count == 1 && forward.space == Forward::MMIO,
        ) {
            *place = shape;
        }
    }

    /// The exit's own instruction is done.
    #[inline(always)]
    pub(crate) fn finish_own(&mut self) {
        let next = self.tickets.vcpu_slot().next_rip;
        self.finish_at(next);
    }

    /// A load from a device's memory is done.
    #[inline(always)]
    pub(crate) fn finish_load(&mut self, value: u64) {
        let forward = self.tickets.vcpu_slot().forward;
        self.vcpu.load_register(
            usize::from(forward.register),
            forward.extend(value),
            forward.width,
        );
        self.finish_at(forward.rip_or_token);
    }

    /// The vCPU's ticket is closed, and the guest goes on at `rip`.
    #[inline(always)]
    pub(crate) fn finish_at(&mut self, rip: u64) {
        self.tickets.vcpu_slot().operation = Operation::None;
        self.vcpu.advance(rip);
        self.vcpu.stand = Stand::Runnable;
    }
}

/// Where a description of an access is kept: apart from those of other widths, sizes, registers and directions, mostly.
#[inline(always)]
const fn place_of(shape: u64) -> usize {
    ((shape ^ shape >> 12 ^ shape >> 40) & (SHAPES as u64 - 1)) as usize
}
