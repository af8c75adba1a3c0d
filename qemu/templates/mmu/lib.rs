//! Nested paging in pages of 4 KiB, filled as the guest touches them.
//!
//! Of instructions it knows `mov cr0` and `mov cr4` before the guest switches paging on, which is how a kernel gets into long mode. Any other,
//! such as an access to a device's memory, is an invalid-opcode exception, and logged. servers/mmu-npt has a whole decoder.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::effect::Mapping;
use atoll_sdk::protocol::interchange::NoState;
use atoll_sdk::protocol::layout::ram_offset;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::Machine;
use atoll_sdk::protocol::role::{Mmu, MmuEffect, MmuReply, MmuRequest};
use atoll_sdk::protocol::units::Gpa;
use atoll_sdk::protocol::vcpu::{Context, Exception, Registers, SystemRegister};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

/// VGA's window belongs to whichever device claims it.
const VGA: core::ops::Range<u64> = 0xa_0000..0xc_0000;

const CR0_PE: u64 = 1;
/// PE, MP, EM, TS, ET, NE, WP, AM and PG: what a guest may set here.
const CR0_ALLOWED: u64 = 0x8005_003f;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
/// VME to OSXMMEXCPT without UMIP, FSGSBASE, OSXSAVE, SMEP and SMAP.
const CR4_ALLOWED: u64 = 0x0035_07ff;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

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

    fn export(_: &State) -> Option<NoState> {
        Some(NoState)
    }

    fn import(machine: &Machine, setup: &Setup<'_>, _: NoState, _: bool) -> Result<State, Refuse> {
        Self::start(machine, setup)
    }

    fn handle(vault: &mut Vault<'_, Self>, request: MmuRequest<'_>, effects: &mut Effects<'_, Mmu>) -> MmuReply {
        if let MmuRequest::Instruction(_, context, registers) = request
            && let Some(reply) = control(effects, context, registers)
        {
            return reply;
        }
        if let MmuRequest::Memory(fault) = request {
            let gpa = fault.gpa.0 & !(Mapping::SMALL - 1);
            if ram_offset(effects.guest().size(), gpa).is_some() && !VGA.contains(&gpa) {
                let access = Mapping::WRITE | Mapping::EXECUTE;
                effects.emit(MmuEffect::Map(Mapping { gpa: Gpa(gpa), size: Mapping::SMALL, access }));
                *vault.at(|state| &mut state.mapped) += 1;
                return MmuReply::Resume;
            }
        }
        effects.log("an instruction that this server does not decode");
        MmuReply::Exception(Exception::UNDEFINED)
    }
}

/// Carries out `mov cr0` or `mov cr4`; `None` if it is another instruction, or paging is on: then RIP is no guest-physical address.
fn control(effects: &mut Effects<'_, Mmu>, context: &Context, registers: Option<&Registers>) -> Option<MmuReply> {
    if context.cr0 & CR0_PG != 0 {
        return None;
    }
    let mut code = [0; 3];
    effects.guest().read(Gpa(context.cs_base.wrapping_add(context.rip)), &mut code).ok()?;
    // MOV CRn, r32 (AMD APM vol. 3): 0F 22 /n.
    let [0x0f, 0x22, operand] = code else { return None };
    let Some(registers) = registers else { return Some(MmuReply::NeedRegisters) };
    let value = *registers.general.get(usize::from(operand & 7))? & 0xffff_ffff;
    let written = match operand >> 3 & 7 {
        0 => cr0(effects, context, value),
        4 if value & !CR4_ALLOWED == 0 => {
            effects.emit(MmuEffect::System(SystemRegister::Cr4, value));
            true
        }
        4 => false,
        _ => return None,
    };
    if !written {
        return Some(MmuReply::Exception(Exception::PROTECTION));
    }
    effects.emit(MmuEffect::System(SystemRegister::Rip, context.rip.wrapping_add(3)));
    Some(MmuReply::Resume)
}

/// Paging with LME makes long mode active (AMD APM vol. 2 §14.6). False if the CPU refuses the value.
fn cr0(effects: &mut Effects<'_, Mmu>, context: &Context, value: u64) -> bool {
    let (paging, long) = (value & CR0_PG != 0, context.efer & EFER_LME != 0);
    if value & !CR0_ALLOWED != 0 || paging && (value & CR0_PE == 0 || long && context.cr4 & CR4_PAE == 0) {
        return false;
    }
    if paging && long {
        effects.emit(MmuEffect::System(SystemRegister::Efer, context.efer | EFER_LMA));
    }
    effects.emit(MmuEffect::System(SystemRegister::Cr0, value | CR0_ET));
    true
}
