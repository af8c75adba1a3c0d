//! Operations that wait for a server. A ticket completes exactly once: by its holder's answer, or by its operation's fallback.

use atoll_protocol::effect::Forward;
use atoll_protocol::units::{ServerId, TicketId, Ticks};

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: the slot is free.
    None,
    /// CPUID.
    Cpuid,
    /// RDMSR.
    MsrRead,
    /// WRMSR.
    MsrWrite,
    /// IN, or a forwarded read of a port.
    PortRead,
    /// OUT, or a forwarded write to a port.
    PortWrite,
    /// A forwarded chunk of INS, of so many bytes.
    PortReadString(u16),
    /// A forwarded chunk of OUTS.
    PortWriteString,
    /// A forwarded load.
    MmioRead,
    /// A forwarded store.
    MmioWrite,
    /// VMMCALL.
    Hypercall,
    /// An exit that an emulator handles; it may ask for registers.
    Emulate,
    /// A forwarded access's result, back at the emulator.
    Finish,
    /// Placing the guest.
    Load,
    /// A request by mail.
    Mail,
}

/// One ticket.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Its name while it is open: the slot below, the generation above.
    name: TicketId,
    /// What waits.
    pub operation: Operation,
    /// Who must answer.
    pub holder: ServerId,
    /// Mail: who asked, and its token.
    pub asker: Option<ServerId>,
    pub(crate) token: u32,
    /// When the fallback completes it; set for requests by mail only, and reset when they are closed.
    pub(crate) deadline: Ticks,
    /// Whether registers were asked for already.
    pub(crate) asked: bool,
    /// vCPU: where the instruction ends.
    pub(crate) next_rip: u64,
    /// vCPU: how a forwarded access finishes; `count` is 0 if the exit was the access itself, or if its value has gone back already.
    pub(crate) forward: Forward,
}

/// Slots: the vCPU's, the loader's, and requests by mail.
pub(crate) const SLOTS: usize = 8;
/// The vCPU's slot: the first.
pub const VCPU: usize = 0;
/// The loader's slot.
pub const LOAD: usize = 1;

/// All tickets.
pub struct Tickets {
    slots: [Ticket; SLOTS],
}

/// One generation, in names.
const GENERATION: u32 = 0x100;

/// A free slot; the name says which.
const fn free(slot: u32) -> Ticket {
    Ticket {
        name: TicketId(slot),
        ..FREE
    }
}

const FREE: Ticket = Ticket {
    name: TicketId(0),
    operation: Operation::None,
    holder: ServerId::SUPERVISOR,
    asker: None,
    token: 0,
    deadline: Ticks(u64::MAX),
    asked: false,
    next_rip: 0,
    forward: Forward {
        address: 0,
        value: 0,
        rip_or_token: 0,
        count: 0,
        space: 0,
        write: 0,
        size: 0,
        source: 0,
        finish: 0,
        register: 0,
        width: 0,
        sign: 0,
        reserved: 0,
    },
};

impl Tickets {
    /// No tickets.
    pub const NONE: Tickets = Tickets {
        slots: [
            free(0),
            free(1),
            free(2),
            free(3),
            free(4),
            free(5),
            free(6),
            free(7),
        ],
    };

    /// Opens the ticket of a slot; the slot is free.
    #[inline(always)]
    pub(crate) fn open(
        &mut self,
        slot: usize,
        operation: Operation,
        holder: ServerId,
        next_rip: u64,
    ) -> TicketId {
        let Some(ticket) = self.slots.get_mut(slot) else {
            return TicketId(0);
        };
        // The generation is never 0: with slot 0 that would be the name of no ticket.
        ticket.name.0 = match ticket.name.0.checked_add(GENERATION) {
            Some(name) => name,
            None => GENERATION | slot as u32,
        };
        ticket.operation = operation;
        ticket.holder = holder;
        ticket.asked = false;
        ticket.next_rip = next_rip;
        ticket.forward.count = 0;
        ticket.name
    }

    /// Whether a slot is free.
    pub(crate) fn is_free(&self, slot: usize) -> bool {
        self.slots
            .get(slot)
            .is_some_and(|ticket| ticket.operation == Operation::None)
    }

    /// A free slot for a request by mail.
    pub(crate) fn free_slot(&self) -> Option<usize> {
        (LOAD + 1..SLOTS).find(|slot| self.is_free(*slot))
    }

    /// The open ticket with this name.
    #[inline(always)]
    pub fn get(&self, id: TicketId) -> Option<&Ticket> {
        self.slots
            .get((id.0 & 0xff) as usize)
            .filter(|ticket| ticket.name == id && ticket.operation != Operation::None)
    }

    /// The open ticket with this name, to change it.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, id: TicketId) -> Option<&mut Ticket> {
        let ticket = self.slots.get_mut((id.0 & 0xff) as usize);
        ticket.filter(|ticket| ticket.name == id && ticket.operation != Operation::None)
    }

    /// The vCPU's ticket, if it is open under this name and `holder` has it.
    #[inline(always)]
    pub(crate) fn vcpu(&self, id: TicketId, holder: ServerId) -> Option<&Ticket> {
        let [ticket, ..] = &self.slots;
        (ticket.name == id && ticket.holder == holder && ticket.operation != Operation::None)
            .then_some(ticket)
    }

    /// The vCPU's slot, whatever is in it.
    #[inline(always)]
    pub(crate) fn vcpu_slot(&mut self) -> &mut Ticket {
        let [ticket, ..] = &mut self.slots;
        ticket
    }

    /// Closes a ticket: its name is never valid again.
    #[inline(always)]
    pub(crate) fn close(&mut self, id: TicketId) {
        if let Some(ticket) = self.get_mut(id) {
            ticket.operation = Operation::None;
            ticket.deadline = Ticks(u64::MAX);
        }
    }

    /// The vCPU's ticket, if it is this server's.
    pub(crate) fn exit_held_by(&self, server: ServerId) -> Option<(TicketId, Ticket)> {
        let mut held = self
            .named()
            .filter(|(id, ticket)| (id.0 & 0xff) as usize == VCPU && ticket.holder == server);
        held.next().map(|(id, ticket)| (id, *ticket))
    }

    /// A request by mail that this server holds.
    pub(crate) fn request_held_by(&self, server: ServerId) -> Option<TicketId> {
        let mut held = self
            .named()
            .filter(|(_, ticket)| ticket.holder == server && ticket.operation == Operation::Mail);
        held.next().map(|(id, _)| id)
    }

    /// What this server has asked is answered to nobody.
    pub(crate) fn disown(&mut self, asker: ServerId) {
        let asked = |ticket: &&mut Ticket| {
            ticket.operation == Operation::Mail && ticket.asker == Some(asker)
        };
        self.slots
            .iter_mut()
            .filter(asked)
            .for_each(|ticket| ticket.asker = None);
    }

    /// The loader's ticket, if it is open and this server's.
    pub(crate) fn load_held_by(&self, server: ServerId) -> Option<TicketId> {
        let mut held = self
            .named()
            .filter(|(_, ticket)| ticket.holder == server && ticket.operation == Operation::Load);
        held.next().map(|(id, _)| id)
    }

    /// Open tickets whose deadline has passed.
    pub(crate) fn overdue(&self, now: Ticks) -> Option<TicketId> {
        self.named()
            .find(|(_, ticket)| ticket.deadline <= now)
            .map(|(id, _)| id)
    }

    /// The earliest deadline of an open ticket.
    pub(crate) fn earliest(&self) -> Ticks {
        self.named()
            .map(|(_, ticket)| ticket.deadline)
            .min()
            .unwrap_or(Ticks(u64::MAX))
    }

    /// All open tickets with their names.
    pub fn named(&self) -> impl Iterator<Item = (TicketId, &Ticket)> + '_ {
        self.slots
            .iter()
            .filter(|ticket| ticket.operation != Operation::None)
            .map(|ticket| (ticket.name, ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_ever_has_the_name_of_none() {
        let mut tickets = Tickets::NONE;
        for _ in 0..(1 << 24) + 2 {
            let ticket = tickets.open(VCPU, Operation::Cpuid, ServerId::nth(3), 0);
            assert_ne!(ticket, TicketId(0));
        }
    }

    #[test]
    fn a_closed_ticket_cannot_be_completed_again() {
        let mut tickets = Tickets::NONE;
        let first = tickets.open(VCPU, Operation::Cpuid, ServerId::nth(3), 0);
        assert!(tickets.get(first).is_some());
        tickets.close(first);
        assert!(tickets.get(first).is_none());
        let second = tickets.open(VCPU, Operation::Cpuid, ServerId::nth(3), 0);
        assert_ne!(first, second);
        assert!(
            tickets.get(first).is_none(),
            "a late answer names an older generation"
        );
        assert!(tickets.get(second).is_some());
    }
}
