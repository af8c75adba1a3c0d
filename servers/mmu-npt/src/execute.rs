//! Instructions on device memory that the CPU carries out itself.
//!
//! Most instructions with a memory operand take registers that this server does not see, or do what nobody wants to do twice: division,
//! the x87 unit, SSE. Their operand is fetched from the device into a page of RAM that no guest reaches; then the guest executes the
//! instruction, with that page in the device's place; what it has stored there goes to the device. So flags, exceptions and registers are
//! the CPU's own. The device sees what it would see of a processor: accesses of up to eight bytes, reads before writes.
//!
//! An operand that begins in RAM and ends in a device's page is taken for one that begins with that page.

use atoll_protocol::effect::Forward;
use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::Context;
use atoll_protocol::{PAGE, STAND_INS};
use atoll_sdk::{Effects, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::device::NOTHING;
use crate::plan::{Plan, Touch};
use crate::token::{Stage, pack};
use crate::{MmuNpt, plan, report};

/// The RAM behind the window of VGA memory: see [`ram`](crate::ram).
const HIDDEN: u64 = 0xa_0000;
const PAGE_BYTES: u64 = PAGE as u64;
const OFFSET: u64 = PAGE_BYTES - 1;
/// Bits of an offset in a token's number; above them is the operand's number.
const OFFSET_BITS: u32 = 16;

/// An operand in a device's page.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Operand {
    gpa: u64,
    /// Bytes in the page.
    length: u16,
    /// 1 if they are to be written back.
    writes: u16,
    /// Not used; zero.
    reserved: u32,
}

/// The instruction that is being executed, with its operands. It outlives the exits that it takes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Execution {
    rip: u64,
    count: u64,
    operands: [Operand; STAND_INS],
}

impl Execution {
    fn operand(&self, number: usize) -> Option<Operand> {
        self.operands
            .get(number)
            .copied()
            .filter(|_| number < self.count as usize)
    }

    /// Adds an operand of `touch` at `gpa`; its number. One that is there already was one of an instruction that came to nothing.
    fn add(&mut self, rip: u64, gpa: u64, touch: Touch) -> Option<usize> {
        let known = |operand: &Operand| operand.gpa & !OFFSET == gpa & !OFFSET;
        if self.rip != rip || self.operands.iter().take(self.count as usize).any(known) {
            *self = Execution {
                rip,
                ..Execution::default()
            };
        }
        let whole = touch.size;
        let mut length = whole.min((PAGE_BYTES - (gpa & OFFSET)) as u16);
        // The two halves of one operand come in either order.
        if let Some(other) = self.count.checked_sub(1)
            && let Some(other) = self.operands.get_mut(other as usize)
        {
            let ends = (other.gpa + u64::from(other.length)) & OFFSET == 0;
            if gpa & OFFSET == 0 && ends && other.length < whole {
                length = whole - other.length;
            } else if other.gpa & OFFSET == 0 && length < whole {
                other.length = other.length.min(whole - length);
            }
        }
        let number = self.count as usize;
        *self.operands.get_mut(number)? = Operand {
            gpa,
            length,
            writes: u16::from(touch.writes),
            reserved: 0,
        };
        self.count += 1;
        Some(number)
    }
}

/// The memory of the plan that has faulted: the access that reads, or the one that writes.
fn touched(plan: &Plan, write: bool) -> Option<Touch> {
    let plan::Action::Execute { operand, stack } = plan.action else {
        return None;
    };
    [operand, stack]
        .into_iter()
        .find(|touch| if write { touch.writes } else { touch.reads })
}

/// Starts on the operand at `gpa`.
pub(crate) fn start(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    gpa: u64,
    write: bool,
    context: &Context,
    plan: &Plan,
) -> MmuReply {
    match touched(plan, write) {
        Some(touch) => begin(vault, effects, gpa, context, touch),
        // A stack in device memory that an exception is delivered on, for one.
        None => report::unsupported(vault, effects, context),
    }
}

/// The same for what is known to touch this memory.
pub(crate) fn begin(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    gpa: u64,
    context: &Context,
    touch: Touch,
) -> MmuReply {
    let execution = vault.at(|state| &mut state.execution);
    let Some(number) = execution.add(context.rip, gpa, touch) else {
        *execution = Execution::default();
        return report::unsupported(vault, effects, context);
    };
    if touch.reads {
        fetch(vault, effects, number, 0)
    } else {
        execute(vault, effects, number)
    }
}

/// Where an operand is in the page that stands in for the device's.
fn hidden(number: usize, gpa: u64) -> u64 {
    HIDDEN + number as u64 * PAGE_BYTES + (gpa & OFFSET)
}

/// The most that one access takes of so many bytes.
fn width(left: u16) -> u8 {
    match left {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

fn which(number: usize, offset: u16) -> u64 {
    (number as u64) << OFFSET_BITS | u64::from(offset)
}

fn unpacked(which: u64) -> (usize, u16) {
    ((which >> OFFSET_BITS) as usize, which as u16)
}

/// Reads the operand from `offset` on.
fn fetch(
    vault: &Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    number: usize,
    offset: u16,
) -> MmuReply {
    let Some(operand) = vault.execution.operand(number) else {
        return MmuReply::Resume;
    };
    if offset >= operand.length {
        return execute(vault, effects, number);
    }
    effects.emit(MmuEffect::Forward(
        Forward {
            address: operand.gpa.wrapping_add(u64::from(offset)),
            size: width(operand.length - offset),
            finish: Forward::RETURN,
            rip_or_token: pack(Stage::Fetch, which(number, offset)),
            ..NOTHING
        },
        &[],
    ));
    MmuReply::Forwarded
}

/// Some of the operand has been read.
pub(crate) fn fetched(
    vault: &Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    token: u64,
    value: u64,
) -> MmuReply {
    let (number, offset) = unpacked(token);
    let Some(operand) = vault.execution.operand(number) else {
        return MmuReply::Resume;
    };
    let size = width(operand.length.saturating_sub(offset));
    let to = Gpa(hidden(number, operand.gpa) + u64::from(offset));
    let bytes = value.to_le_bytes();
    effects.emit(MmuEffect::GuestWrite(
        to,
        bytes.get(..usize::from(size)).unwrap_or(&[]),
    ));
    fetch(vault, effects, number, offset + u16::from(size))
}

/// The operand is there: the guest goes on with it.
fn execute(vault: &Vault<'_, MmuNpt>, effects: &mut Effects<'_, Mmu>, number: usize) -> MmuReply {
    let Some(operand) = vault.execution.operand(number) else {
        return MmuReply::Resume;
    };
    effects.emit(MmuEffect::Forward(
        Forward {
            space: Forward::STAND_IN,
            address: operand.gpa & !OFFSET,
            value: hidden(number, 0),
            finish: Forward::RETURN,
            rip_or_token: pack(Stage::Executed, 0),
            ..NOTHING
        },
        &[],
    ));
    MmuReply::Forwarded
}

/// The CPU has executed the instruction, or it has raised an exception and changed nothing.
pub(crate) fn executed(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    done: bool,
) -> MmuReply {
    if done {
        store(vault, effects, 0, 0)
    } else {
        *vault.at(|state| &mut state.execution) = Execution::default();
        MmuReply::Resume
    }
}

/// Some of what was stored has reached the device.
pub(crate) fn stored(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    token: u64,
) -> MmuReply {
    let (number, offset) = unpacked(token);
    let length = vault
        .execution
        .operand(number)
        .map_or(0, |operand| operand.length);
    let size = width(length.saturating_sub(offset));
    store(vault, effects, number, offset + u16::from(size))
}

/// Passes on what was stored, from `offset` of this operand on.
fn store(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    number: usize,
    offset: u16,
) -> MmuReply {
    let (mut number, mut offset) = (number, offset);
    while let Some(operand) = vault.execution.operand(number) {
        if operand.writes == 0 || offset >= operand.length {
            (number, offset) = (number + 1, 0);
            continue;
        }
        let size = width(operand.length - offset);
        let from = Gpa(hidden(number, operand.gpa) + u64::from(offset));
        let mut bytes = [0; 8];
        let all = bytes.get_mut(..usize::from(size)).unwrap_or_default();
        // It is RAM: the guest has just been using it.
        let _ = effects.guest().read(from, all);
        effects.emit(MmuEffect::Forward(
            Forward {
                address: operand.gpa.wrapping_add(u64::from(offset)),
                value: u64::from_le_bytes(bytes),
                write: 1,
                size,
                source: Forward::IMMEDIATE,
                finish: Forward::RETURN,
                rip_or_token: pack(Stage::Store, which(number, offset)),
                ..NOTHING
            },
            &[],
        ));
        return MmuReply::Forwarded;
    }
    *vault.at(|state| &mut state.execution) = Execution::default();
    MmuReply::Resume
}
