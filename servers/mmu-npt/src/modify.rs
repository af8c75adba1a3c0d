//! The second half of instructions that read a device's memory: compute, set the flags, and write back.

use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Registers, SystemRegister};
use atoll_sdk::Effects;

use crate::alu::{self, Outcome};
use crate::device;
use crate::mode::next_rip;
use crate::plan::{Action, Binary, BitTest, IMMEDIATE, Plan};
use crate::registers::{self, RAX, mask, source};

/// What is left to do when all is computed.
enum Rest {
    /// Nothing.
    Done,
    /// Write this to the operand.
    Write(u64),
}

/// Finishes the instruction with its operand's old value.
///
/// The plan is decoded anew: if another vCPU has changed the instruction meanwhile, the guest simply runs what is there now.
pub(crate) fn finish(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    gpa: u64,
    old: u64,
) -> MmuReply {
    let rip = next_rip(context, plan.length);
    let Some((size, rflags, rest)) = compute(effects, context, registers, plan, old) else {
        return MmuReply::Resume;
    };
    if rflags != context.rflags {
        effects.emit(MmuEffect::System(SystemRegister::Rflags, rflags));
    }
    match rest {
        Rest::Write(value) => device::write(effects, gpa, size, value, rip),
        Rest::Done => {
            effects.emit(MmuEffect::System(SystemRegister::Rip, rip));
            MmuReply::Resume
        }
    }
}

/// Operand size, RFLAGS and what is left; registers are written here.
fn compute(
    effects: &mut Effects<'_, Mmu>,
    context: &Context,
    registers: &Registers,
    plan: &Plan,
    old: u64,
) -> Option<(u8, u64, Rest)> {
    let rflags = context.rflags;
    Some(match plan.action {
        Action::ToMemory {
            operation,
            source: from,
            size,
        } => {
            let Outcome { value, rflags } =
                alu::binary(operation, old, source(registers, from, size), rflags, size);
            let rest = if matches!(operation, Binary::Compare | Binary::Test) {
                Rest::Done
            } else {
                Rest::Write(value)
            };
            (size, rflags, rest)
        }
        Action::ToRegister {
            operation,
            register,
            size,
        } => {
            let Outcome { value, rflags } = alu::binary(
                operation,
                registers::read(registers, register, size),
                old,
                rflags,
                size,
            );
            if !matches!(operation, Binary::Compare | Binary::Test) {
                registers::write(effects, registers, register, size, value);
            }
            (size, rflags, Rest::Done)
        }
        Action::InPlace { operation, size } => {
            let Outcome { value, rflags } = alu::unary(operation, old, rflags, size);
            (size, rflags, Rest::Write(value))
        }
        Action::Exchange { register, size } => {
            registers::write(effects, registers, register, size, old);
            (
                size,
                rflags,
                Rest::Write(registers::read(registers, register, size)),
            )
        }
        Action::CompareExchange { register, size } => {
            let accumulator = registers::read(registers, RAX, size);
            let Outcome { rflags, .. } =
                alu::binary(Binary::Compare, accumulator, old, rflags, size);
            if rflags & alu::ZF != 0 {
                (
                    size,
                    rflags,
                    Rest::Write(registers::read(registers, register, size)),
                )
            } else {
                // The operand is written in either case (APM vol. 3, CMPXCHG).
                registers::write(effects, registers, RAX, size, old);
                (size, rflags, Rest::Write(old & mask(size)))
            }
        }
        Action::ExchangeAdd { register, size } => {
            let added = registers::read(registers, register, size);
            let Outcome { value, rflags } = alu::binary(Binary::Add, old, added, rflags, size);
            registers::write(effects, registers, register, size, old);
            (size, rflags, Rest::Write(value))
        }
        Action::Bit {
            operation,
            index,
            size,
        } => {
            // A register's index beyond the operand has moved the operand; the nested fault was there.
            debug_assert!(index.register < 16 || index.register == IMMEDIATE);
            let Outcome { value, rflags } =
                alu::bit(operation, old, source(registers, index, size), rflags, size);
            (
                size,
                rflags,
                if operation == BitTest::Test {
                    Rest::Done
                } else {
                    Rest::Write(value)
                },
            )
        }
        _ => return None,
    })
}
