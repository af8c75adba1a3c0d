//! Nested paging in pages of 4 KiB, filled as the guest touches them.
//!
//! Of instructions it knows moves to CR0 and CR4, and to and from debug registers, which is what a kernel does that boots. Any other, such as an access to a device's memory, is an invalid-opcode exception, and logged. servers/mmu-npt has a whole decoder.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::effect::Mapping;
use atoll_sdk::protocol::interchange::NoState;
use atoll_sdk::protocol::layout::ram_offset;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{InstructionExit, Machine};
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
        if let MmuRequest::Instruction(exit, context, registers) = request
            && let Some(reply) = control(effects, exit, context, registers)
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

/// Carries out MOV to CR0 and CR4 and accesses to debug registers; `None` if it is another instruction.
fn control(effects: &mut Effects<'_, Mmu>, exit: &InstructionExit, context: &Context, registers: &Registers) -> Option<MmuReply> {
    // MOV between a general register and CRn or DRn (AMD APM vol. 3): 0F, an opcode, and what names both; REX has one more bit for each.
    let (rex, opcode, operand) = match exit.bytes {
        [rex @ 0x40..=0x4f, 0x0f, opcode, operand, ..] if is_64_bit(context) => (rex, opcode, operand),
        [0x0f, opcode, operand, ..] => (0, opcode, operand),
        _ => return None,
    };
    let (general, system) = (operand & 7 | (rex & 1) << 3, operand >> 3 & 7 | (rex & 4) << 1);
    let value = registers.general.get(usize::from(general))? & if is_64_bit(context) { u64::MAX } else { 0xffff_ffff };
    let written = match (opcode, system) {
        (0x22, 0) => cr0(effects, context, value),
        (0x22, 4) if value & !CR4_ALLOWED == 0 => {
            effects.emit(MmuEffect::System(SystemRegister::Cr4, value));
            true
        }
        (0x22, 4) => false,
        (0x20, 0) => {
            effects.emit(MmuEffect::Register(general, context.cr0));
            true
        }
        (0x23, 0..=3 | 6 | 7) => {
            let register = match system {
                0 => SystemRegister::Dr0,
                1 => SystemRegister::Dr1,
                2 => SystemRegister::Dr2,
                3 => SystemRegister::Dr3,
                6 => SystemRegister::Dr6,
                _ => SystemRegister::Dr7,
            };
            let taken = system < 4 || value >> 32 == 0;
            if taken {
                effects.emit(MmuEffect::System(register, value));
            }
            taken
        }
        (0x21, 0..=3 | 6 | 7) => {
            let place = if system < 4 { system } else { system - 2 };
            effects.emit(MmuEffect::Register(general, *registers.debug.get(usize::from(place))?));
            true
        }
        _ => return None,
    };
    if !written {
        return Some(MmuReply::Exception(Exception::PROTECTION));
    }
    let length = if rex == 0 { 3 } else { 4 };
    effects.emit(MmuEffect::System(SystemRegister::Rip, context.rip.wrapping_add(length)));
    Some(MmuReply::Resume)
}

/// Whether instructions are those of 64-bit mode.
fn is_64_bit(context: &Context) -> bool {
    context.efer & EFER_LMA != 0 && context.cs_attributes & 1 << 9 != 0
}

/// Paging with LME makes long mode active, which the kernel sees to (AMD APM vol. 2 §14.6). False if the CPU refuses the value.
fn cr0(effects: &mut Effects<'_, Mmu>, context: &Context, value: u64) -> bool {
    let (paging, long) = (value & CR0_PG != 0, context.efer & EFER_LME != 0);
    if value & !CR0_ALLOWED != 0 || paging && (value & CR0_PE == 0 || long && context.cr4 & CR4_PAE == 0) {
        return false;
    }
    effects.emit(MmuEffect::System(SystemRegister::Cr0, value | CR0_ET));
    true
}
