//! Parts of general registers: reading and writing 1, 2, 4 or 8 bytes (APM vol. 1 §3.1.2).

use atoll_protocol::role::{Mmu, MmuEffect};
use atoll_protocol::vcpu::Registers;
use atoll_sdk::Effects;

use crate::plan::{IMMEDIATE, Source};

/// RAX.
pub(crate) const RAX: u8 = 0;
/// RCX, the count of string forms.
pub(crate) const RCX: u8 = 1;
/// RDX.
pub(crate) const RDX: u8 = 2;
/// RSI, the source of string forms.
pub(crate) const RSI: u8 = 6;
/// RDI, the destination of string forms.
pub(crate) const RDI: u8 = 7;

/// The low `size` bytes.
#[inline(always)]
pub(crate) fn mask(size: u8) -> u64 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// The whole register.
fn whole(registers: &Registers, number: u8) -> u64 {
    registers
        .general
        .get(usize::from(number))
        .copied()
        .unwrap_or(0)
}

/// The low `size` bytes of a register (0 to 15), or a high byte (16 to 19).
pub(crate) fn read(registers: &Registers, number: u8, size: u8) -> u64 {
    if number >= 16 {
        whole(registers, number - 16) >> 8 & 0xff
    } else {
        whole(registers, number) & mask(size)
    }
}

/// A source operand's low `size` bytes.
pub(crate) fn source(registers: &Registers, source: Source, size: u8) -> u64 {
    if source.register == IMMEDIATE {
        source.value & mask(size)
    } else {
        read(registers, source.register, size)
    }
}

/// Writes `size` bytes: 4 clear the upper half, 1 and 2 leave the rest.
pub(crate) fn write(
    effects: &mut Effects<'_, Mmu>,
    registers: &Registers,
    number: u8,
    size: u8,
    value: u64,
) {
    let (number, shift) = if number >= 16 {
        (number - 16, 8)
    } else {
        (number, 0)
    };
    let new = match size {
        1 | 2 => whole(registers, number) & !(mask(size) << shift) | (value & mask(size)) << shift,
        _ => value & mask(size),
    };
    effects.emit(MmuEffect::Register(number, new));
}
