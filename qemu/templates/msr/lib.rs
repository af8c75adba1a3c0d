//! Model-specific registers: those without which no 64-bit kernel runs. All others are a general-protection exception, as on a CPU that
//! does not have them, and counted.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Machine, MsrExit};
use atoll_sdk::protocol::role::{Msr, MsrEffect, MsrReply, MsrRequest};
use atoll_sdk::protocol::vcpu::SystemRegister;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

const TSC: u32 = 0x10;
const PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;
/// SCE, LME and NXE (AMD APM vol. 2 §3.1.7).
const EFER_ALLOWED: u64 = 1 | LME | 1 << 11;
const LME: u64 = 1 << 8;
/// The CPU's own: a write leaves it alone.
const LMA: u64 = 1 << 10;
/// The hypervisor's own: never shown.
const SVME: u64 = 1 << 12;
const CR0_PAGING: u64 = 1 << 31;

/// What survives a crash of the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Accesses that were refused.
    pub refused: u64,
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = Msr;
    type State = State;
    type Cache = ();

    atoll_sdk::forgetful!();

    fn start(_: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        Ok(State::default())
    }

    fn handle(vault: &mut Vault<'_, Self>, request: MsrRequest<'_>, effects: &mut Effects<'_, Msr>) -> MsrReply {
        let reply = match request {
            MsrRequest::Read(exit) => read(exit),
            MsrRequest::Write(exit) => write(exit, effects),
        };
        if reply == MsrReply::GeneralProtection {
            *vault.at(|state| &mut state.refused) += 1;
        }
        reply
    }
}

/// The kernel holds the registers that the CPU needs; `held` is what this one holds.
fn read(exit: &MsrExit) -> MsrReply {
    match exit.index {
        EFER => MsrReply::Value(exit.held & !SVME),
        PAT | TSC => MsrReply::Value(exit.held),
        _ => MsrReply::GeneralProtection,
    }
}

fn write(exit: &MsrExit, effects: &mut Effects<'_, Msr>) -> MsrReply {
    let (register, value) = match exit.index {
        EFER => {
            let switches_mode = (exit.held ^ exit.value) & LME != 0 && exit.cr0 & CR0_PAGING != 0;
            if exit.value & !(EFER_ALLOWED | LMA) != 0 || switches_mode {
                return MsrReply::GeneralProtection;
            }
            (SystemRegister::Efer, exit.value & EFER_ALLOWED | exit.held & LMA)
        }
        // Eight memory types; 2 and 3 are none.
        PAT if exit.value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)) => (SystemRegister::Pat, exit.value),
        TSC => (SystemRegister::Tsc, exit.value),
        _ => return MsrReply::GeneralProtection,
    };
    effects.emit(MsrEffect::Set(register, value));
    MsrReply::Done
}
