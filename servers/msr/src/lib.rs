//! Answers RDMSR and WRMSR, kvmclock included.
//!
//! Registers of the local APIC, and those that the CPU saves and restores for the guest (segment bases, system call entry points), do
//! not come here. What this server does not know is a general-protection exception, as on a CPU, and one line in the log.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange::MsrState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Machine, MsrExit};
use atoll_protocol::role::{Msr, MsrEffect, MsrReply, MsrRequest};
use atoll_protocol::vcpu::SystemRegister;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod control;
mod index;
mod kvmclock;
mod mtrr;
#[cfg(test)]
mod tests;
mod unknown;

use kvmclock::KvmClock;
use mtrr::Ranges;

/// Patch level that is shown: that of a CPU which needs no workaround by microcode.
const PATCH_LEVEL: u64 = 0x0100_0065;
/// HWCR: the TSC counts at the frequency of P-state 0, whatever the CPU's own (bit 24).
const HWCR: u64 = 1 << 24;
/// DE_CFG: LFENCE is serialising (bit 1).
const DE_CFG: u64 = 1 << 1;

/// Registers that are plain values, and the count of unknown ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Plain {
    /// MISC_ENABLE.
    misc_enable: u64,
    /// How many accesses were to unknown registers.
    unknown: u64,
    /// Not used; zero.
    reserved: [u64; 6],
}

/// What survives: one line of plain registers, one of kvmclock, four of memory types.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    plain: Plain,
    clock: KvmClock,
    ranges: Ranges,
}

/// The server.
#[derive(Debug)]
pub struct MsrServer;

impl Server for MsrServer {
    type Role = Msr;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        let clock = KvmClock::new(machine).ok_or(Refuse::Machine(
            "a time-stamp counter whose frequency is known",
        ))?;
        Ok(State {
            plain: Plain::default(),
            clock,
            ranges: Ranges::new(machine.physical_bits),
        })
    }

    fn export(state: &State) -> Option<MsrState> {
        let mut exported = MsrState {
            misc_enable: state.plain.misc_enable,
            ..MsrState::default()
        };
        state.clock.export(&mut exported);
        exported.memory_types = state.ranges.export();
        Some(exported)
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: MsrState,
        _: bool,
    ) -> Result<State, Refuse> {
        let mut state = Self::start(machine, setup)?;
        state.plain.misc_enable = before.misc_enable;
        state.clock.import(&before);
        state.ranges.import(&before.memory_types);
        Ok(state)
    }

    /// Guest time begins here.
    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, Msr>) {
        vault.at(|state| &mut state.clock).begin(effects.now());
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: MsrRequest<'_>,
        _: &mut Effects<'_, Msr>,
    ) -> Option<MsrReply> {
        match request {
            MsrRequest::Read(exit) => read(vault, exit).map(MsrReply::Value),
            MsrRequest::Write(exit) => write(exit, || vault.at(|state| &mut state.plain)),
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: MsrRequest<'_>,
        effects: &mut Effects<'_, Msr>,
    ) -> MsrReply {
        match (Self::quick(vault, request, effects), request) {
            (Some(reply), _) => reply,
            (None, request) => rare(vault.at(|state| state), request, effects),
        }
    }
}

#[inline(always)]
fn read(state: &State, exit: &MsrExit) -> Option<u64> {
    Some(match exit.index {
        index::EFER => exit.held & !control::SVME,
        index::PAT | index::TSC => exit.held,
        index::HWCR => HWCR,
        index::MISC_ENABLE => state.plain.misc_enable,
        index::KVM_SYSTEM_TIME | index::KVM_SYSTEM_TIME_OLD => state.clock.system_time,
        index::KVM_WALL_CLOCK | index::KVM_WALL_CLOCK_OLD => state.clock.wall_clock,
        _ => return None,
    })
}

#[inline(always)]
fn write<'p>(exit: &MsrExit, plain: impl FnOnce() -> &'p mut Plain) -> Option<MsrReply> {
    match exit.index {
        // The configuration stays as it is: neither can be switched off for a guest.
        index::HWCR | index::DE_CFG => {}
        index::MISC_ENABLE => plain().misc_enable = exit.value,
        _ => return None,
    }
    Some(MsrReply::Done)
}

/// What comes seldom: then it does not matter that all of the state counts as changed.
#[inline(never)]
fn rare(state: &mut State, request: MsrRequest<'_>, effects: &mut Effects<'_, Msr>) -> MsrReply {
    match request {
        MsrRequest::Read(exit) => read_rare(state, exit.index, effects),
        MsrRequest::Write(exit) => write_rare(state, exit, effects),
    }
}

fn read_rare(state: &mut State, index: u32, effects: &mut Effects<'_, Msr>) -> MsrReply {
    let value = match index {
        index::PATCH_LEVEL => Some(PATCH_LEVEL),
        index::DE_CFG => Some(DE_CFG),
        index::TSC_ADJUST => Some(state.clock.offset),
        _ if index::is_inert(index) => Some(0),
        _ => state.ranges.read(index),
    };
    value.map_or_else(
        || unknown::answer(&mut state.plain, index, None, effects),
        MsrReply::Value,
    )
}

/// The guest's counter becomes `value`.
fn set_tsc(state: &mut State, value: u64, effects: &mut Effects<'_, Msr>) -> MsrReply {
    effects.emit(MsrEffect::Set(SystemRegister::Tsc, value));
    let now = effects.now();
    state.clock.set_tsc(now, value, effects);
    MsrReply::Done
}

fn write_rare(state: &mut State, exit: &MsrExit, effects: &mut Effects<'_, Msr>) -> MsrReply {
    match exit.index {
        index::EFER => match control::efer(exit.held, exit.value, exit.cr0) {
            Some(efer) => {
                effects.emit(MsrEffect::Set(SystemRegister::Efer, efer));
                MsrReply::Done
            }
            None => MsrReply::GeneralProtection,
        },
        index::PAT if control::is_pat(exit.value) => {
            effects.emit(MsrEffect::Set(SystemRegister::Pat, exit.value));
            MsrReply::Done
        }
        index::PAT => MsrReply::GeneralProtection,
        index::TSC => set_tsc(state, exit.value, effects),
        // Both change the counter and the register; the counter began without an adjustment.
        index::TSC_ADJUST => {
            let value = effects.now().0.wrapping_add(exit.value);
            set_tsc(state, value, effects)
        }
        index::KVM_SYSTEM_TIME | index::KVM_SYSTEM_TIME_OLD => {
            state.clock.set_system_time(exit.value, effects)
        }
        index::KVM_WALL_CLOCK | index::KVM_WALL_CLOCK_OLD => {
            state.clock.set_wall_clock(exit.value, effects)
        }
        // What is loaded stays loaded.
        index::PATCH_LEVEL => MsrReply::Done,
        index if index::is_inert(index) => MsrReply::Done,
        index if mtrr::owns(index) => {
            let Some(place) = state.ranges.place(index, exit.value) else {
                return MsrReply::GeneralProtection;
            };
            if let Some(register) = state.ranges.get(place) {
                *register = exit.value;
            }
            MsrReply::Done
        }
        index => unknown::answer(&mut state.plain, index, Some(exit.value), effects),
    }
}
