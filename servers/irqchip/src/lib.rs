//! Two 8259s, an I/O APIC and the local APICs.
//!
//! Everything that raises an interrupt arrives here as a message, and what leaves is one *offer* per vCPU: the interrupt that it should
//! take next. An offer is not an acceptance: only [`IrqchipEvent::Accepted`] moves a vector from pending to in service. So an offer that is
//! replaced or withdrawn before the guest could take it has changed nothing.
//!
//! - [`pic`], [`ioapic`], [`lapic`]: the three controllers, each a plain value that knows nothing of the others.
//! - [`wires`]: what goes between them.
//! - [`offer`]: what the kernel is told.
//! - [`access`]: the guest's loads, stores, ports and MSRs.
//!
//! An end of interrupt and a write of TSC_DEADLINE come with every timer tick: this file answers them itself, ahead of everything else.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod access;
pub mod interrupt;
pub mod ioapic;
pub mod lapic;
pub mod offer;
pub mod pic;
#[cfg(test)]
mod tests;
pub mod vectors;
pub mod wires;

use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{Irqchip, IrqchipEffect, IrqchipEvent, IrqchipReply, IrqchipRequest, PortRequest};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use ioapic::Ioapic;
use lapic::Lapic;
use pic::Pics;
use wires::Wires;

/// Virtual CPUs that the state has room for.
pub const VCPUS: usize = 4;
/// MSR: end of interrupt in x2APIC mode.
const X2APIC_EOI: u32 = 0x80b;
/// MSR: the time at which the timer fires.
pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
/// Offset of the end-of-interrupt register in memory.
const EOI_OFFSET: u64 = 0xb0;

/// The server.
#[derive(Debug)]
pub struct IrqchipServer;

/// All its state.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// The local APICs, by vCPU.
    pub lapics: [Lapic; VCPUS],
    /// The 8259s.
    pub pics: Pics,
    /// The I/O APIC.
    pub ioapic: Ioapic,
    /// The counter's frequency.
    pub tsc_khz: u64,
    /// Virtual CPUs that there are.
    pub vcpus: u32,
    /// Physical address bits.
    pub physical_bits: u32,
    reserved: [u64; 6],
}

const _: () = assert!(size_of::<Lapic>() == 192 && size_of::<Pics>() == 64 && size_of::<Ioapic>() == 256);

/// A vCPU's place in the state. The kernel's numbers always fit; the mask tells the compiler.
#[inline(always)]
pub(crate) const fn place(vcpu: u8) -> usize {
    vcpu as usize % VCPUS
}

impl Server for IrqchipServer {
    type Role = Irqchip;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        if machine.vcpus as usize > VCPUS {
            return Err(Refuse::Machine("so few vCPUs that the interrupt controllers could serve them"));
        }
        // Counts are turned into ticks in 64 bits: 2^32 counts of 2^7 bus cycles at 2^25 kHz just fit.
        if machine.tsc_khz == 0 || machine.tsc_khz >= 1 << 25 {
            return Err(Refuse::Machine("time-stamp counter between 1 kHz and 33 GHz"));
        }
        Ok(State {
            lapics: [Lapic::new(0), Lapic::new(1), Lapic::new(2), Lapic::new(3)],
            pics: Pics::new(),
            ioapic: Ioapic::new(),
            tsc_khz: machine.tsc_khz,
            vcpus: machine.vcpus.max(1),
            physical_bits: machine.physical_bits,
            reserved: [0; 6],
        })
    }

    #[inline(always)]
    fn handle(vault: &mut Vault<'_, Self>, request: IrqchipRequest<'_>, effects: &mut Effects<'_, Irqchip>) -> IrqchipReply {
        let vcpu = effects.vcpu();
        offer::see_priority(vault, effects);
        match request {
            IrqchipRequest::WriteMsr(exit) if exit.index == TSC_DEADLINE => {
                let live = &vault.lapics[place(vcpu)].live;
                if live.by_deadline() && exit.value != 0 {
                    vault.at(|state| &mut state.lapics[place(vcpu)].live.deadline).clone_from(&exit.value);
                    effects.emit(IrqchipEffect::Arm(TimerId(vcpu), Ticks(exit.value)));
                    offer::offer(vault, vcpu, effects);
                    return IrqchipReply::Done;
                }
            }
            IrqchipRequest::WriteMsr(exit)
                if exit.index == X2APIC_EOI && exit.value == 0 && vault.lapics[place(vcpu)].registers.extended() =>
            {
                end_of_interrupt(vault, vcpu, effects);
                return IrqchipReply::Done;
            }
            IrqchipRequest::Store(exit)
                if exit.gpa.0 == lapic::base::DEFAULT + EOI_OFFSET
                    && vault.lapics[place(vcpu)].registers.memory() == Some(lapic::base::DEFAULT) =>
            {
                end_of_interrupt(vault, vcpu, effects);
                return IrqchipReply::Done;
            }
            IrqchipRequest::Port(PortRequest { port, size: 1, write: None }) => {
                if let Some(value) = vault.pics.peek(port) {
                    // What an acceptance ahead of this has made room for.
                    offer::offer(vault, vcpu, effects);
                    return IrqchipReply::Value(u64::from(value));
                }
            }
            _ => {}
        }
        access::answer(vault, request, effects)
    }

    #[inline(always)]
    fn event(vault: &mut Vault<'_, Self>, event: IrqchipEvent, effects: &mut Effects<'_, Irqchip>) {
        match event {
            // The rest of the message follows as a call of its own, and that makes the next offer.
            IrqchipEvent::Accepted(vector) => offer::accepted(vault, effects.vcpu(), vector),
            IrqchipEvent::Timer(TimerId(vcpu)) => {
                offer::see_priority(vault, effects);
                Wires { vault, effects }.expire(vcpu);
            }
            IrqchipEvent::Line(change) => {
                offer::see_priority(vault, effects);
                Wires { vault, effects }.line(change);
            }
            IrqchipEvent::Priority => {
                offer::see_priority(vault, effects);
                offer::offer(vault, effects.vcpu(), effects);
            }
        }
    }
}

/// An end of interrupt: the highest service ends, and if it was level-triggered the I/O APIC hears of it.
#[inline(always)]
fn end_of_interrupt(vault: &mut Vault<'_, IrqchipServer>, vcpu: u8, effects: &mut Effects<'_, Irqchip>) {
    let live = &vault.lapics[place(vcpu)].live;
    let vector = live.isr.highest();
    if vector != 0 {
        let level = live.tmr.contains(vector);
        vault.at(|state| &mut state.lapics[place(vcpu)].live.isr).remove(vector);
        if level {
            return Wires { vault, effects }.ended(vector);
        }
    }
    offer::offer(vault, vcpu, effects);
}
