//! Nested paging in pages of 4 KiB, filled as the guest touches them.
//!
//! It decodes no instructions: an access to a device's memory is an invalid-opcode exception, and logged. servers/mmu-npt has a decoder.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::effect::Mapping;
use atoll_sdk::protocol::layout::ram_offset;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::Machine;
use atoll_sdk::protocol::role::{Mmu, MmuEffect, MmuReply, MmuRequest};
use atoll_sdk::protocol::units::Gpa;
use atoll_sdk::protocol::vcpu::Exception;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

/// VGA's window belongs to whichever device claims it.
const VGA: core::ops::Range<u64> = 0xa_0000..0xc_0000;

/// What survives a crash of the server. The mappings do: they are the kernel's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Pages that were mapped.
    pub mapped: u64,
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = Mmu;
    type State = State;
    type Cache = ();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        Ok(State::default())
    }

    fn handle(vault: &mut Vault<'_, Self>, request: MmuRequest<'_>, effects: &mut Effects<'_, Mmu>) -> MmuReply {
        if let MmuRequest::Memory(fault) = request {
            let gpa = fault.gpa.0 & !(Mapping::SMALL - 1);
            if ram_offset(effects.guest().size(), gpa).is_some() && !VGA.contains(&gpa) {
                let access = Mapping::WRITE | Mapping::EXECUTE;
                effects.emit(MmuEffect::Map(Mapping { gpa: Gpa(gpa), size: Mapping::SMALL, access }));
                *vault.at(|state| &mut state.mapped) += 1;
                return MmuReply::Resume;
            }
        }
        effects.emit(MmuEffect::Log("an instruction that this server does not decode"));
        MmuReply::Exception(Exception::UNDEFINED)
    }
}
