//! STOS, LODS, MOVS, CMPS and SCAS with an operand in a device's memory (APM vol. 3, the instructions' pages).
//!
//! One element per exit: the index and count registers move with the element's own effects and RIP stays on the instruction until the
//! count is used up, so that whatever happens next (a fault on the next element, an interrupt) sees exact registers.

use atoll_protocol::effect::Forward;
use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Exception, Registers, SystemRegister};
use atoll_sdk::{Effects, Vault};

use crate::mode::next_rip;
use crate::operand::{ES, Operand, linear};
use crate::plan::{Action, Binary, Plan, Repeat, Touch};
use crate::registers::{self, RAX, RCX, RDI, RSI, mask};
use crate::token::{Stage, pack};
use crate::walk::Access;
use crate::{MmuNpt, alu, device, execute, ram, report};

/// RFLAGS.DF: downwards.
const DF: u64 = 1 << 10;

/// How many elements the instruction has left.
pub(crate) fn remaining(registers: &Registers, plan: &Plan) -> u64 {
    if plan.repeat == Repeat::Once {
        1
    } else {
        registers::read(registers, RCX, plan.address_size)
    }
}

/// The change of an index register by `count` elements.
fn distance(context: &Context, size: u8, count: u64) -> u64 {
    let bytes = u64::from(size).wrapping_mul(count);
    if context.rflags & DF == 0 {
        bytes
    } else {
        bytes.wrapping_neg()
    }
}

/// Moves an index register.
pub(crate) fn step(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    index: u8,
    size: u8,
    count: u64,
) {
    let old = registers::read(registers, index, plan.address_size);
    registers::write(
        effects,
        registers,
        index,
        plan.address_size,
        old.wrapping_add(distance(context, size, count)),
    );
}

/// Takes `count` elements off RCX, and says where to go on: at the same instruction while there are more.
pub(crate) fn count_down(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    count: u64,
) -> u64 {
    if plan.repeat == Repeat::Once {
        return next_rip(context, plan.length);
    }
    let left = remaining(registers, plan).wrapping_sub(count) & mask(plan.address_size);
    registers::write(effects, registers, RCX, plan.address_size, left);
    if left == 0 {
        next_rip(context, plan.length)
    } else {
        context.rip
    }
}

/// Goes on at `rip`.
pub(crate) fn resume_at(effects: &mut Effects<'_, Mmu>, rip: u64) -> MmuReply {
    effects.emit(MmuEffect::System(SystemRegister::Rip, rip));
    MmuReply::Resume
}

/// Whether a scan or comparison goes on after an element with these flags.
fn goes_on(plan: &Plan, rflags: u64) -> bool {
    match plan.repeat {
        Repeat::Once => false,
        Repeat::WhileEqual => rflags & alu::ZF != 0,
        Repeat::WhileNotEqual => rflags & alu::ZF == 0,
    }
}

/// The source operand.
fn source_operand(
    vault: &Vault<'_, MmuNpt>,
    effects: &Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    size: u8,
) -> Result<Operand, Exception> {
    let offset = registers::read(registers, RSI, plan.address_size);
    let linear = linear(
        context,
        registers,
        plan.segment,
        offset,
        u64::from(size),
        Access::Read,
    )?;
    Operand::new(
        context,
        effects.guest(),
        vault.physical_bits,
        linear,
        usize::from(size),
        Access::Read,
    )
}

/// The destination operand.
fn destination_operand(
    vault: &Vault<'_, MmuNpt>,
    effects: &Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    size: u8,
    access: Access,
) -> Result<Operand, Exception> {
    let offset = registers::read(registers, RDI, plan.address_size);
    let linear = linear(context, registers, ES, offset, u64::from(size), access)?;
    Operand::new(
        context,
        effects.guest(),
        vault.physical_bits,
        linear,
        usize::from(size),
        access,
    )
}

/// Starts on one element: the device is at `gpa`.
pub(crate) fn start(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    gpa: u64,
    write: bool,
    context: &Context,
    registers: Option<&Registers>,
    plan: &Plan,
) -> MmuReply {
    let Some(registers) = registers else {
        return MmuReply::NeedRegisters;
    };
    if remaining(registers, plan) == 0 {
        return resume_at(effects, next_rip(context, plan.length));
    }
    match plan.action {
        Action::StoreString { size } if write => {
            step(effects, context, registers, plan, RDI, size, 1);
            let rip = count_down(effects, context, registers, plan, 1);
            device::write(
                effects,
                gpa,
                size,
                registers::read(registers, RAX, size),
                rip,
            )
        }
        Action::LoadString { size } if !write => {
            step(effects, context, registers, plan, RSI, size, 1);
            let rip_or_token = count_down(effects, context, registers, plan, 1);
            let forward = Forward {
                address: gpa,
                rip_or_token,
                count: 1,
                space: Forward::MMIO,
                size,
                finish: Forward::LOAD,
                register: RAX,
                width: size,
                ..Forward::default()
            };
            effects.emit(MmuEffect::Forward(forward, &[]));
            MmuReply::Forwarded
        }
        Action::MoveString { size } if write => {
            // The CPU reads before it writes: the source is RAM, or the fault would have been a read.
            let source = match source_operand(vault, effects, context, registers, plan, size) {
                Ok(source) => source,
                Err(exception) => return MmuReply::Exception(exception),
            };
            let Some(value) = source.value(effects.guest(), size) else {
                return report::unsupported(vault, effects, context);
            };
            step(effects, context, registers, plan, RSI, size, 1);
            step(effects, context, registers, plan, RDI, size, 1);
            let rip = count_down(effects, context, registers, plan, 1);
            device::write(effects, gpa, size, value, rip)
        }
        Action::MoveString { size } => {
            // A destination that cannot be written is found out before the device is read.
            match destination_operand(
                vault,
                effects,
                context,
                registers,
                plan,
                size,
                Access::Write,
            ) {
                Ok(_) => device::read(effects, gpa, size, pack(Stage::Move, 0)),
                Err(exception) => MmuReply::Exception(exception),
            }
        }
        Action::CompareString { size } if !write => {
            let source = source_operand(vault, effects, context, registers, plan, size);
            let destination =
                destination_operand(vault, effects, context, registers, plan, size, Access::Read);
            let memory = effects.guest().size();
            match (source, destination) {
                (Ok(source), Ok(destination))
                    if !source.is_ram(memory) && !destination.is_ram(memory) =>
                {
                    let touch = Touch::read(u16::from(size));
                    return execute::begin(vault, effects, gpa, context, touch);
                }
                (Err(exception), _) | (_, Err(exception)) => {
                    return MmuReply::Exception(exception);
                }
                _ => {}
            }
            device::read(effects, gpa, size, pack(Stage::Compare, gpa))
        }
        Action::ScanString { size } if !write => {
            device::read(effects, gpa, size, pack(Stage::Scan, 0))
        }
        _ => report::unsupported(vault, effects, context),
    }
}

/// MOVS has read its element from a device: write it to RAM, or to another device.
pub(crate) fn moved(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    value: u64,
) -> MmuReply {
    let Action::MoveString { size } = plan.action else {
        return MmuReply::Resume;
    };
    let to = match destination_operand(
        vault,
        effects,
        context,
        registers,
        plan,
        size,
        Access::Write,
    ) {
        Ok(to) => to,
        Err(exception) => return MmuReply::Exception(exception),
    };
    to.mark(effects);
    step(effects, context, registers, plan, RSI, size, 1);
    step(effects, context, registers, plan, RDI, size, 1);
    let rip = count_down(effects, context, registers, plan, 1);
    if to.is_ram(effects.guest().size()) {
        to.write(
            effects,
            value.to_le_bytes().get(..usize::from(size)).unwrap_or(&[]),
        );
        resume_at(effects, rip)
    } else if ram::is_ram(effects.guest().size(), to.gpa()) {
        // Half RAM, half device: a guest that does this gets nothing written.
        resume_at(effects, rip)
    } else {
        device::write(effects, to.gpa(), size, value & mask(size), rip)
    }
}

/// CMPS has read one element from the device at `gpa`; the other one is in RAM.
pub(crate) fn compared(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    gpa: u64,
    value: u64,
) -> MmuReply {
    let Action::CompareString { size } = plan.action else {
        return MmuReply::Resume;
    };
    let source = source_operand(vault, effects, context, registers, plan, size);
    let destination =
        destination_operand(vault, effects, context, registers, plan, size, Access::Read);
    let (source, destination) = match (source, destination) {
        (Ok(source), Ok(destination)) => (source, destination),
        (Err(exception), _) | (_, Err(exception)) => return MmuReply::Exception(exception),
    };
    let (first, second, other) = if source.gpa() == gpa {
        (
            Some(value),
            destination.value(effects.guest(), size),
            destination,
        )
    } else {
        (source.value(effects.guest(), size), Some(value), source)
    };
    // Both in devices, since they were first looked at.
    let (Some(first), Some(second)) = (first, second) else {
        return report::unsupported(vault, effects, context);
    };
    other.mark(effects);
    step(effects, context, registers, plan, RSI, size, 1);
    finish_comparison(effects, context, registers, plan, first, second, size)
}

/// SCAS has read its element.
pub(crate) fn scanned(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    value: u64,
) -> MmuReply {
    let Action::ScanString { size } = plan.action else {
        return MmuReply::Resume;
    };
    finish_comparison(
        effects,
        context,
        registers,
        plan,
        registers::read(registers, RAX, size),
        value,
        size,
    )
}

fn finish_comparison(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    first: u64,
    second: u64,
    size: u8,
) -> MmuReply {
    let rflags = alu::binary(Binary::Compare, first, second, context.rflags, size).rflags;
    effects.emit(MmuEffect::System(SystemRegister::Rflags, rflags));
    step(effects, context, registers, plan, RDI, size, 1);
    let rip = count_down(effects, context, registers, plan, 1);
    resume_at(
        effects,
        if goes_on(plan, rflags) {
            rip
        } else {
            next_rip(context, plan.length)
        },
    )
}
