//! INS and OUTS, with and without REP: a chunk of elements per message (APM vol. 2 §15.10).
//!
//! The instruction is decoded here although EXITINFO1 describes it: without decode assists the CPU leaves the segment (and QEMU's TCG the
//! address size) out. A chunk ends with the page of its memory operand, and at the most that one message carries; then the instruction
//! exits again, with exact registers, and whatever fault the next page has is taken with the work before it done.

use atoll_protocol::STRING_BYTES;
use atoll_protocol::effect::Forward;
use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Exception, Registers};
use atoll_sdk::{Effects, Vault};

use crate::mode::next_rip;
use crate::operand::{ES, Operand, linear, room};
use crate::plan::{Action, Plan};
use crate::registers::{self, RDI, RDX, RSI};
use crate::strings::{count_down, remaining, resume_at, step};
use crate::token::{Stage, pack};
use crate::walk::Access;
use crate::{MmuNpt, device, report};

/// RFLAGS.DF: downwards.
const DF: u64 = 1 << 10;
/// RFLAGS.TF: #DB behind each element (APM vol. 2 §13.1.4).
const TF: u64 = 1 << 8;

/// The memory operand of a chunk: INS writes at ES:rDI, OUTS reads at the plan's segment and rSI.
struct Chunk {
    operand: Operand,
    /// Elements.
    count: u64,
    /// Bytes per element.
    size: u8,
    access: Access,
}

/// Finds the next chunk, of at most `most` elements; `None` if the instruction is no string I/O.
fn chunk(
    vault: &Vault<'_, MmuNpt>,
    effects: &Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    most: u64,
) -> Option<Result<Chunk, Exception>> {
    let (size, segment, index, access) = match plan.action {
        Action::InString { size } => (size, ES, RDI, Access::Write),
        Action::OutString { size } => (size, plan.segment, RSI, Access::Read),
        _ => return None,
    };
    if !matches!(size, 1 | 2 | 4) {
        return None;
    }
    let width = u64::from(size);
    let offset = registers::read(registers, index, plan.address_size);
    let found = linear(context, registers, segment, offset, width, access).and_then(|first| {
        // Downwards, and where the guest steps, one element at a time; upwards as far as page, segment and message go.
        let upwards = (room(first) / width)
            .min(STRING_BYTES as u64 / width)
            .min(most)
            .max(1);
        let wraps = offset
            .checked_add(upwards * width - 1)
            .is_none_or(|last| last > registers::mask(plan.address_size));
        let fits =
            !wraps && linear(context, registers, segment, offset, upwards * width, access).is_ok();
        let count = if context.rflags & (DF | TF) == 0 && fits {
            upwards
        } else {
            1
        };
        let bytes = (count * width) as usize;
        let operand = Operand::new(
            context,
            effects.guest(),
            vault.physical_bits,
            first,
            bytes,
            access,
        )?;
        Ok(Chunk {
            operand,
            count,
            size,
            access,
        })
    });
    Some(found)
}

/// Answers an INS or OUTS exit.
#[cold]
#[inline(never)]
pub(crate) fn start(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: Option<&Registers>,
) -> MmuReply {
    let Some(registers) = registers else {
        return MmuReply::NeedRegisters;
    };
    let bits = vault.physical_bits;
    let plan = match vault.cache.plan(context, effects.guest(), bits) {
        Ok(plan) => plan,
        Err(why) => return report::no_plan(vault, effects, context, why),
    };
    let left = remaining(registers, &plan);
    if left == 0 {
        return resume_at(effects, next_rip(context, plan.length));
    }
    let Chunk {
        operand,
        mut count,
        size,
        access,
    } = match chunk(vault, effects, context, registers, &plan, left) {
        Some(Ok(chunk)) => chunk,
        Some(Err(exception)) => return MmuReply::Exception(exception),
        // Another vCPU has changed the instruction since it exited: run what is there now.
        None => return MmuReply::Resume,
    };
    if !operand.is_ram(effects.guest().size()) {
        // A device's memory takes one element at a time.
        count = 1;
        if access == Access::Read {
            operand.mark(effects);
            return device::read(effects, operand.gpa(), size, pack(Stage::OutFrom, 0));
        }
    }
    let mut bytes = [0; STRING_BYTES];
    let Some(bytes) = bytes.get_mut(..count as usize * usize::from(size)) else {
        return MmuReply::Resume;
    };
    let forward = Forward {
        address: registers::read(registers, RDX, 2),
        count: count as u32,
        space: Forward::PORT,
        size,
        finish: Forward::RETURN,
        ..Forward::default()
    };
    if access == Access::Write {
        effects.emit(MmuEffect::Forward(
            Forward {
                rip_or_token: pack(Stage::In, count),
                ..forward
            },
            &[],
        ));
        return MmuReply::Forwarded;
    }
    if operand.read(effects.guest(), bytes).is_none() {
        return MmuReply::Resume;
    }
    operand.mark(effects);
    effects.emit(MmuEffect::Forward(
        Forward {
            rip_or_token: pack(Stage::Out, count),
            write: 1,
            ..forward
        },
        bytes,
    ));
    MmuReply::Forwarded
}

/// INS has read its chunk: write it to memory and go on.
pub(crate) fn read(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    count: u64,
    bytes: &[u8],
) -> MmuReply {
    let Chunk {
        operand,
        count,
        size,
        ..
    } = match chunk(vault, effects, context, registers, plan, count) {
        Some(Ok(chunk)) => chunk,
        Some(Err(exception)) => return MmuReply::Exception(exception),
        None => return MmuReply::Resume,
    };
    let bytes = bytes
        .get(..count as usize * usize::from(size))
        .unwrap_or(bytes);
    operand.mark(effects);
    step(effects, context, registers, plan, RDI, size, count);
    let rip = count_down(effects, context, registers, plan, count);
    if operand.is_ram(effects.guest().size()) {
        operand.write(effects, bytes);
        return resume_at(effects, rip);
    }
    let mut value = [0; 8];
    if let (Some(value), Some(bytes)) = (
        value.get_mut(..usize::from(size)),
        bytes.get(..usize::from(size)),
    ) {
        value.copy_from_slice(bytes);
    }
    device::write(effects, operand.gpa(), size, u64::from_le_bytes(value), rip)
}

/// OUTS has read its element from a device: write it to the port.
pub(crate) fn fetched(
    effects: &mut Effects<'_, Mmu>,
    registers: &Registers,
    plan: &Plan,
    value: u64,
) -> MmuReply {
    let Action::OutString { size } = plan.action else {
        return MmuReply::Resume;
    };
    effects.emit(MmuEffect::Forward(
        Forward {
            address: registers::read(registers, RDX, 2),
            value,
            count: 1,
            space: Forward::PORT,
            write: 1,
            size,
            source: Forward::IMMEDIATE,
            finish: Forward::RETURN,
            rip_or_token: pack(Stage::Out, 1),
            ..Forward::default()
        },
        &[],
    ));
    MmuReply::Forwarded
}

/// OUTS has written its chunk: go on.
pub(crate) fn written(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    count: u64,
) -> MmuReply {
    let Action::OutString { size } = plan.action else {
        return MmuReply::Resume;
    };
    step(effects, context, registers, plan, RSI, size, count);
    let rip = count_down(effects, context, registers, plan, count);
    resume_at(effects, rip)
}
