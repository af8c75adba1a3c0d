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
//! - [`quick`]: those of them that come often.
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
mod quick;
#[cfg(test)]
mod tests;
pub mod vectors;
pub mod wires;

use atoll_protocol::interchange::IrqchipState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::{Irqchip, IrqchipEvent, IrqchipReply, IrqchipRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use ioapic::Ioapic;
use lapic::Lapic;
use pic::Pics;
use wires::Wires;

/// Virtual CPUs that the state has room for.
pub const VCPUS: usize = 4;
/// MSR: the time at which the timer fires.
pub(crate) const TSC_DEADLINE: u32 = 0x6e0;

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
    reserved: [u32; 13],
}

const _: () =
    assert!(size_of::<Lapic>() == 192 && size_of::<Pics>() == 64 && size_of::<Ioapic>() == 256);

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
            return Err(Refuse::Machine(
                "a machine with no more vCPUs than it has local APICs",
            ));
        }
        // Counts are turned into ticks in 64 bits: 2^32 counts of 2^7 bus cycles at 2^25 kHz just fit.
        if machine.tsc_khz == 0 || machine.tsc_khz >= 1 << 25 {
            return Err(Refuse::Machine(
                "a time-stamp counter between 1 kHz and 33 GHz",
            ));
        }
        Ok(State {
            lapics: [Lapic::new(0), Lapic::new(1), Lapic::new(2), Lapic::new(3)],
            pics: Pics::new(),
            ioapic: Ioapic::new(),
            tsc_khz: machine.tsc_khz,
            vcpus: machine.vcpus.max(1),
            reserved: [0; 13],
        })
    }

    fn export(state: &State) -> Option<IrqchipState> {
        let lapics = state.lapics.map(|lapic| lapic.export());
        Some(IrqchipState {
            lapics,
            pics: state.pics.export(),
            ioapic: state.ioapic.export(),
        })
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: IrqchipState,
        _: bool,
    ) -> Result<State, Refuse> {
        if !before.makes_sense() {
            return Err(Refuse::BadState);
        }
        let mut state = Self::start(machine, setup)?;
        for (id, (lapic, before)) in (0..).zip(state.lapics.iter_mut().zip(&before.lapics)) {
            *lapic = Lapic::import(id, before);
        }
        (state.pics, state.ioapic) = (Pics::import(&before.pics), Ioapic::import(&before.ioapic));
        Ok(state)
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Irqchip>) {
        let mut wires = Wires { vault, effects };
        wires.rewire();
        wires.rearm();
        wires.offer_all();
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: IrqchipRequest<'_>,
        effects: &mut Effects<'_, Irqchip>,
    ) -> Option<IrqchipReply> {
        quick::answer(vault, request, effects)
    }

    #[inline(always)]
    fn quick_event(
        vault: &mut Vault<'_, Self>,
        event: IrqchipEvent,
        effects: &mut Effects<'_, Irqchip>,
    ) -> bool {
        quick::event(vault, event, effects)
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: IrqchipRequest<'_>,
        effects: &mut Effects<'_, Irqchip>,
    ) -> IrqchipReply {
        offer::see_priority(vault, effects);
        access::answer(vault, request, effects)
    }

    fn event(vault: &mut Vault<'_, Self>, event: IrqchipEvent, effects: &mut Effects<'_, Irqchip>) {
        match event {
            // The rest of the message follows as a call of its own, and that makes the next offer.
            IrqchipEvent::Accepted(vector) => offer::accepted(vault, effects.vcpu(), vector),
            IrqchipEvent::Timer(timer) => {
                offer::see_priority(vault, effects);
                Wires { vault, effects }.expire(timer.number());
            }
            IrqchipEvent::Line(change) => {
                offer::see_priority(vault, effects);
                Wires { vault, effects }.line(change);
            }
            IrqchipEvent::Header => {
                offer::see_priority(vault, effects);
                Wires { vault, effects }.offer_all();
            }
        }
    }
}
