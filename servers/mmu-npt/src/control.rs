//! Instructions that the kernel intercepts but does not decode: accesses to control and debug registers, writes to XCR0, and what the
//! guest does not have.
//!
//! A value that the CPU would refuse must be refused here: the intercept comes before the CPU's own checks, and some CPUs then do not make
//! them. The rules are those of APM vol. 2 §3.1.1 (CR0), §3.1.3 (CR4) and §11.5.2 (XCR0).

use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Exception, Registers, SystemRegister};
use atoll_sdk::{Effects, Vault};

use crate::debug;
use crate::mode::{CR0_PE, CR0_PG, CR4_PAE, CodeSize, EFER_LMA, EFER_LME, code_size, next_rip};
use crate::plan::Action;
use crate::registers::{self, RAX, RCX, RDX, mask};
use crate::strings::resume_at;
use crate::{MmuNpt, report};

/// Exit codes (APM vol. 2, appendix C).
mod code {
    /// Reads and writes of control and of debug registers: 16 codes each, by number.
    pub(super) const FIRST_REGISTER: u64 = 0;
    /// The last of them.
    pub(super) const LAST_REGISTER: u64 = 0x3f;
    /// Write to CR0 other than to TS and MP.
    pub(super) const CR0_SELECTIVE_WRITE: u64 = 0x65;
    /// RDPMC.
    pub(super) const RDPMC: u64 = 0x6f;
    /// INVD.
    pub(super) const INVD: u64 = 0x76;
    /// PAUSE.
    pub(super) const PAUSE: u64 = 0x77;
    /// WBINVD.
    pub(super) const WBINVD: u64 = 0x89;
    /// XSETBV.
    pub(super) const XSETBV: u64 = 0x8d;
}

/// CR0.TS.
const CR0_TS: u64 = 1 << 3;
/// CR0.ET, always 1.
const CR0_ET: u64 = 1 << 4;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
/// PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG: writes to the others are ignored below bit 32, and refused above.
const CR0_WRITABLE: u64 = 0xe005_003f;
const CR4_OSXSAVE: u64 = 1 << 18;

/// Answers an instruction exit.
#[cold]
#[inline(never)]
pub(crate) fn instruction(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    exit: u64,
    context: &Context,
    registers: &Registers,
) -> MmuReply {
    match exit {
        code::FIRST_REGISTER..=code::LAST_REGISTER
        | code::CR0_SELECTIVE_WRITE
        | code::INVD
        | code::PAUSE
        | code::WBINVD
        | code::XSETBV => {}
        // There are no performance counters.
        code::RDPMC => return MmuReply::Exception(Exception::PROTECTION),
        // SVM's own, SKINIT, RSM, MONITOR, MWAIT, RDPRU...: CPUID offers none of them.
        _ => return MmuReply::Exception(Exception::UNDEFINED),
    }
    let bits = vault.physical_bits;
    let plan = match vault.cache.plan(context, effects.guest(), bits) {
        Ok(plan) => plan,
        Err(why) => return report::no_plan(vault, effects, context, why),
    };
    let rip = next_rip(context, plan.length);
    if matches!(exit, code::INVD | code::PAUSE | code::WBINVD) {
        return resume_at(effects, rip);
    }
    if let Action::StoreStatusWord { register, size } = plan.action {
        registers::write(effects, registers, register, size, context.cr0 & mask(size));
        return resume_at(effects, rip);
    }
    if context.cpl != 0 {
        return MmuReply::Exception(Exception::PROTECTION);
    }
    let size = if code_size(context) == CodeSize::Bits64 {
        8
    } else {
        4
    };
    // The instruction says which register it is: some CPUs (QEMU 8 to 10) give CR0's exit code for every read.
    let done = match plan.action {
        Action::ClearTaskSwitched => {
            effects.emit(MmuEffect::System(
                SystemRegister::Cr0,
                context.cr0 & !CR0_TS,
            ));
            Ok(())
        }
        Action::ToControl { control, register } => {
            let value = registers::read(registers, register, size);
            match control {
                0 => set_cr0(effects, context, value),
                4 => set_cr4(effects, vault.cr4, context, value),
                8 => set_cr8(effects, value),
                _ => return report::unsupported(vault, effects, context),
            }
        }
        Action::FromControl { control, register } => {
            let value = match control {
                0 => context.cr0,
                2 => registers.cr2,
                3 => context.cr3,
                4 => context.cr4,
                8 => u64::from(context.tpr),
                _ => return report::unsupported(vault, effects, context),
            };
            registers::write(effects, registers, register, size, value);
            Ok(())
        }
        Action::ToDebug { debug, register } => debug::write(
            effects,
            context,
            registers,
            debug,
            registers::read(registers, register, size),
        ),
        Action::FromDebug { debug, register } => debug::read(effects, context, registers, debug)
            .map(|value| registers::write(effects, registers, register, size, value)),
        Action::LoadStatusWord { register } => {
            // PE, MP, EM and TS; PE can be set but not cleared.
            let word = registers::read(registers, register, 2) & 0xf;
            set_cr0(effects, context, context.cr0 & !0xe | word)
        }
        Action::SetExtendedControl => {
            if context.cr4 & CR4_OSXSAVE == 0 {
                return MmuReply::Exception(Exception::UNDEFINED);
            }
            let value =
                registers::read(registers, RAX, 4) | registers::read(registers, RDX, 4) << 32;
            set_xcr0(
                effects,
                vault.xcr0,
                registers::read(registers, RCX, 4),
                value,
            )
        }
        _ => return report::unsupported(vault, effects, context),
    };
    match done {
        Ok(()) => resume_at(effects, rip),
        Err(exception) => MmuReply::Exception(exception),
    }
}

/// The task priority; bits 4 to 63 are reserved (APM vol. 2 §3.1.5).
fn set_cr8(effects: &mut Effects<'_, Mmu>, value: u64) -> Result<(), Exception> {
    if value > 0xf {
        return Err(Exception::PROTECTION);
    }
    effects.emit(MmuEffect::System(SystemRegister::TaskPriority, value));
    Ok(())
}

fn set_cr0(effects: &mut Effects<'_, Mmu>, context: &Context, value: u64) -> Result<(), Exception> {
    let long_segment = code_size(context) == CodeSize::Bits64;
    let paging = value & CR0_PG != 0;
    let enables = paging && context.cr0 & CR0_PG == 0;
    let disables = !paging && context.cr0 & CR0_PG != 0;
    let long_wanted = context.efer & EFER_LME != 0;
    let refused = value >> 32 != 0
        || paging && value & CR0_PE == 0
        || value & CR0_NW != 0 && value & CR0_CD == 0
        || enables && long_wanted && context.cr4 & CR4_PAE == 0
        || enables && long_wanted && context.cs_attributes & crate::mode::CS_LONG != 0
        || disables && long_segment;
    if refused {
        return Err(Exception::PROTECTION);
    }
    effects.emit(MmuEffect::System(
        SystemRegister::Cr0,
        value & CR0_WRITABLE | CR0_ET,
    ));
    Ok(())
}

fn set_cr4(
    effects: &mut Effects<'_, Mmu>,
    allowed: u64,
    context: &Context,
    value: u64,
) -> Result<(), Exception> {
    let long = context.efer & EFER_LMA != 0;
    if value & !allowed != 0 || long && value & CR4_PAE == 0 {
        return Err(Exception::PROTECTION);
    }
    effects.emit(MmuEffect::System(SystemRegister::Cr4, value));
    Ok(())
}

fn set_xcr0(
    effects: &mut Effects<'_, Mmu>,
    allowed: u64,
    index: u64,
    value: u64,
) -> Result<(), Exception> {
    let x87 = value & 1 != 0;
    let sse = value & 2 != 0;
    let avx = value & 4 != 0;
    let bounds = value >> 3 & 3;
    let avx512 = value >> 5 & 7;
    let good = index == 0
        && value & !allowed == 0
        && x87
        && (sse || !avx)
        && matches!(bounds, 0 | 3)
        && (avx512 == 0 || avx512 == 7 && avx);
    if !good {
        return Err(Exception::PROTECTION);
    }
    effects.emit(MmuEffect::System(SystemRegister::Xcr0, value));
    Ok(())
}
