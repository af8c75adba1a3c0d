//! One 8259A at ports 0x20 and 0x21, edge-triggered, with fixed priorities: the interrupt controller of a PC that has eight lines.
//!
//! What leaves is one *offer*: the interrupt that the CPU should take next. Only when it was accepted it moves from requested to in
//! service, so an offer that is replaced before the guest could take it has changed nothing. Accesses to anything else (a second 8259, an
//! I/O APIC, a local APIC) are answered as if nothing were there.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::effect::Offer;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::Machine;
use atoll_sdk::protocol::role::{Irqchip, IrqchipEffect, IrqchipEvent, IrqchipReply, IrqchipRequest, Role};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

const COMMAND: u16 = 0x20;
const DATA: u16 = 0x21;
/// ICW1, by which an initialisation begins; bit 0 says that it has an ICW4.
const ICW1: u8 = 0x10;
/// OCW3: what a read of the command port shows.
const OCW3: u8 = 0x08;

/// The chip, after the data sheet's names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Interrupt requests.
    pub requests: u8,
    /// Interrupts in service.
    pub service: u8,
    /// Interrupts that are masked.
    pub mask: u8,
    /// Vector of line 0.
    pub base: u8,
    /// Which initialisation word is expected: 2, 3, 4; 0 for none.
    pub expected: u8,
    /// 1 if the initialisation has a fourth word.
    pub fourth: u8,
    /// 1 if a read of the command port shows `service`.
    pub show_service: u8,
    /// 1 while an interrupt is on offer.
    pub offered: u8,
    /// Its vector.
    pub vector: u8,
}

impl State {
    /// The vector that the CPU should take next: a lower line goes before a higher one, also before one in service.
    fn next(&self) -> Option<u8> {
        let line = (self.requests & !self.mask).trailing_zeros();
        (line < self.service.trailing_zeros().min(8)).then(|| self.base + line as u8)
    }

    fn command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            *self = State { expected: 2, fourth: value & 1, offered: self.offered, vector: self.vector, ..State::default() };
        } else if value & OCW3 != 0 {
            self.show_service = u8::from(value & 3 == 3);
        } else {
            match value >> 5 {
                // End of interrupt: of the one with the highest priority, or of one by its number.
                1 => self.service &= self.service.wrapping_sub(1),
                3 => self.service &= !(1 << (value & 7)),
                _ => {}
            }
        }
    }

    fn data(&mut self, value: u8) {
        match self.expected {
            2 => (self.base, self.expected) = (value & !7, 3),
            3 => self.expected = if self.fourth != 0 { 4 } else { 0 },
            4 => self.expected = 0,
            _ => self.mask = value,
        }
    }
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = Irqchip;
    type State = State;
    type Cache = ();

    atoll_sdk::forgetful!();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        Ok(State { mask: 0xff, base: 8, ..State::default() })
    }

    fn handle(vault: &mut Vault<'_, Self>, request: IrqchipRequest<'_>, effects: &mut Effects<'_, Irqchip>) -> IrqchipReply {
        let IrqchipRequest::Port(port) = request else { return Irqchip::fallback(request) };
        let reply = match (port.port, port.write) {
            (COMMAND, Some(value)) => done(|| vault.at(|s| s).command(value as u8)),
            (DATA, Some(value)) => done(|| vault.at(|s| s).data(value as u8)),
            (COMMAND, None) => IrqchipReply::Value(if vault.show_service != 0 { vault.service } else { vault.requests }.into()),
            (DATA, None) => IrqchipReply::Value(vault.mask.into()),
            _ => return Irqchip::fallback(request),
        };
        offer(vault, effects);
        reply
    }

    fn event(vault: &mut Vault<'_, Self>, event: IrqchipEvent, effects: &mut Effects<'_, Irqchip>) {
        match event {
            IrqchipEvent::Accepted(vector) => {
                let line = 1_u8.checked_shl(vector.wrapping_sub(vault.base).into()).unwrap_or(0);
                let state = vault.at(|s| s);
                (state.requests, state.service, state.offered) = (state.requests & !line, state.service | line, 0);
                // The rest of the message follows as a call of its own, and that makes the next offer.
                return;
            }
            IrqchipEvent::Line(change) if change.rose && change.line.0 < 8 => vault.at(|s| s).requests |= 1 << change.line.0,
            IrqchipEvent::Line(_) | IrqchipEvent::Timer(_) | IrqchipEvent::Header => {}
        }
        offer(vault, effects);
    }
}

fn done(write: impl FnOnce()) -> IrqchipReply {
    write();
    IrqchipReply::Done
}

/// Offers what the CPU should take next, if something else is on offer.
fn offer(vault: &mut Vault<'_, MyServer>, effects: &mut Effects<'_, Irqchip>) {
    let next = vault.next();
    let offered = (vault.offered != 0).then_some(vault.vector);
    if next != offered {
        let kind = if next.is_some() { Offer::EXTERNAL } else { Offer::NONE };
        effects.emit(IrqchipEffect::Offer(Offer { vcpu: 0, vector: next.unwrap_or(0), kind, nmi: 0 }));
        let state = vault.at(|s| s);
        (state.offered, state.vector) = (u8::from(next.is_some()), next.unwrap_or(0));
    }
}
