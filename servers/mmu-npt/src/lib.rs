//! Nested paging, filled lazily, and the decoder for what touches devices.
//!
//! Three kinds of exits come here:
//!
//! - A nested fault on RAM is answered with a mapping ([`ram`]).
//! - A nested fault elsewhere is an access to a device. The instruction is fetched ([`fetch`]) by a walk of the guest's own tables
//!   ([`walk`]), decoded ([`decode`]) into a [`plan`] that is cached ([`plans`]), and forwarded to whichever device owns the address ([`device`]). What a
//!   plain load or store is, the kernel finishes; the rest comes back with the value read and is finished by [`modify`] or [`strings`], or
//!   is executed by the CPU itself on a copy of the operand ([`execute`]).
//! - INS and OUTS ([`port`]), and instructions that the kernel intercepts but does not decode ([`control`]).
//!
//! The guest is hostile: whatever its tables, registers and instructions say, a step ends after a bounded number of loads from its RAM,
//! with an effect that the kernel can check or with an exception.
//!
//! # Options
//! - `pages=4K`: never map with 2 MiB pages.
//! - `pages_4k=START-END`: not in this range of guest-physical addresses (hexadecimal, END exclusive).
//! - `xcr0=MASK`, `cr4=MASK`: the bits of XCR0 and CR4 that the guest may set (hexadecimal): those that its CPUID offers.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use atoll_protocol::interchange::NoState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{Mmu, MmuEffect, MmuReply, MmuRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod alu;
mod control;
mod debug;
mod decode;
mod device;
mod execute;
mod fetch;
mod mode;
mod modify;
mod operand;
mod plan;
mod plans;
mod port;
mod ram;
mod registers;
mod report;
mod strings;
mod token;
mod walk;

#[cfg(test)]
mod tests;

pub use plans::Plans;

/// The server.
#[derive(Debug)]
pub struct MmuNpt;

/// What must survive: the configuration, and how often the guest has run into what nobody emulates.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct State {
    /// First guest-physical address that is mapped in 4 KiB pages only.
    pub small_start: u64,
    /// End (exclusive) of those.
    pub small_end: u64,
    /// Bits of XCR0 that the guest may set.
    pub xcr0: u64,
    /// Physical address bits, for reserved bits in page tables.
    pub physical_bits: u64,
    /// Instructions that could not be emulated.
    pub refused: u64,
    /// Bits of CR4 that the guest may set.
    pub cr4: u64,
    /// The instruction that the CPU executes on a copy of its operands.
    pub execution: execute::Execution,
}

/// x87, SSE, AVX.
const XCR0_DEFAULT: u64 = 0x7;
/// VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE, SMEP, SMAP.
///
/// Without five levels, PCID, PKE and CET, which the guest's CPUID does not offer.
const CR4_DEFAULT: u64 = 0x0035_0fff;

impl Server for MmuNpt {
    type Role = Mmu;
    type State = State;
    type Cache = Plans;

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        let (small_start, small_end) = match (setup.option("pages"), setup.option("pages_4k")) {
            (Some("4K"), None) => (0, u64::MAX),
            (Some("2M") | None, None) => (0, 0),
            (Some("2M") | None, Some(range)) => {
                let (start, end) = range.split_once('-').ok_or(Refuse::BadOption("pages_4k"))?;
                let start = hexadecimal(start).ok_or(Refuse::BadOption("pages_4k"))?;
                let end = hexadecimal(end)
                    .filter(|end| *end > start)
                    .ok_or(Refuse::BadOption("pages_4k"))?;
                (start, end)
            }
            _ => return Err(Refuse::BadOption("pages")),
        };
        let mask = |name, default| match setup.option(name) {
            Some(mask) => hexadecimal(mask).ok_or(Refuse::BadOption(name)),
            None => Ok(default),
        };
        let xcr0 = mask("xcr0", XCR0_DEFAULT)?;
        let cr4 = mask("cr4", CR4_DEFAULT)?;
        let physical_bits = u64::from(machine.physical_bits);
        Ok(State {
            small_start,
            small_end,
            xcr0,
            cr4,
            physical_bits,
            ..State::default()
        })
    }

    fn export(_: &State) -> Option<NoState> {
        Some(NoState)
    }

    fn import(machine: &Machine, setup: &Setup<'_>, _: NoState, _: bool) -> Result<State, Refuse> {
        Self::start(machine, setup)
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: MmuRequest<'_>,
        effects: &mut Effects<'_, Mmu>,
    ) -> Option<MmuReply> {
        match request {
            MmuRequest::Memory(fault) => {
                effects.emit(MmuEffect::Map(ram::mapping(
                    vault,
                    effects.guest().size(),
                    fault.gpa.0,
                )?));
                Some(MmuReply::Resume)
            }
            MmuRequest::Fault(fault, context, None) => {
                let mut forward = *vault.cache.forward(context, effects.guest(), fault.error)?;
                forward.address = fault.gpa.0;
                effects.emit(MmuEffect::Forward(forward, &[]));
                Some(MmuReply::Forwarded)
            }
            _ => None,
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: MmuRequest<'_>,
        effects: &mut Effects<'_, Mmu>,
    ) -> MmuReply {
        match request {
            // What is no RAM to the guest is decoded.
            MmuRequest::Memory(_) => {
                Self::quick(vault, request, effects).unwrap_or(MmuReply::NeedRegisters)
            }
            MmuRequest::Fault(fault, context, registers) => {
                device::access(vault, effects, fault, context, registers)
            }
            MmuRequest::StringIo(_, context, registers) => {
                port::start(vault, effects, context, registers)
            }
            MmuRequest::Instruction(exit, context, registers) => {
                control::instruction(vault, effects, exit.code, context, registers)
            }
            MmuRequest::Done(done, context, registers, bytes) => {
                device::done(vault, effects, done, context, registers, bytes)
            }
        }
    }
}

/// A hexadecimal number, with or without `0x`.
fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}
