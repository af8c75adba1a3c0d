//! Arithmetic and its flags (APM vol. 3, the instructions' pages), on operands of 1, 2, 4 or 8 bytes.
//!
//! Carries are taken from the top bits of operands and result, so that 64-bit operands need no wider type. Flags that the manual leaves
//! undefined (AF after logic, most after bit tests) are what the CPU usually does: AF cleared, the others left.

use crate::plan::{Binary, BitTest, Unary};
use crate::registers::mask;

/// Carry.
pub(crate) const CF: u64 = 1 << 0;
/// Parity of the low byte.
pub(crate) const PF: u64 = 1 << 2;
/// Carry out of the low nibble.
pub(crate) const AF: u64 = 1 << 4;
/// Zero.
pub(crate) const ZF: u64 = 1 << 6;
/// Sign.
pub(crate) const SF: u64 = 1 << 7;
/// Overflow.
pub(crate) const OF: u64 = 1 << 11;
/// All of them.
pub(crate) const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// A result, and RFLAGS after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The result, in the low bytes; the rest is zero.
    pub(crate) value: u64,
    /// RFLAGS.
    pub(crate) rflags: u64,
}

fn flag(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// ZF, SF and PF.
fn of_result(value: u64, size: u8) -> u64 {
    flag(value == 0, ZF)
        | flag(value >> (size * 8 - 1) & 1 != 0, SF)
        | flag((value as u8).count_ones().is_multiple_of(2), PF)
}

fn add(a: u64, b: u64, carry: u64, size: u8) -> (u64, u64) {
    let value = a.wrapping_add(b).wrapping_add(carry) & mask(size);
    let top = size * 8 - 1;
    let carries = a & b | (a | b) & !value;
    let overflow = (a ^ value) & (b ^ value);
    (
        value,
        of_result(value, size)
            | carries >> top & CF
            | (a ^ b ^ value) & AF
            | flag(overflow >> top & 1 != 0, OF),
    )
}

fn subtract(a: u64, b: u64, borrow: u64, size: u8) -> (u64, u64) {
    let value = a.wrapping_sub(b).wrapping_sub(borrow) & mask(size);
    let top = size * 8 - 1;
    let borrows = !a & b | (!a | b) & value;
    let overflow = (a ^ b) & (a ^ value);
    (
        value,
        of_result(value, size)
            | borrows >> top & CF
            | (a ^ b ^ value) & AF
            | flag(overflow >> top & 1 != 0, OF),
    )
}

/// `a op b`, where `a` is the destination.
pub(crate) fn binary(operation: Binary, a: u64, b: u64, rflags: u64, size: u8) -> Outcome {
    let (a, b) = (a & mask(size), b & mask(size));
    let logic = |value| (value, of_result(value, size));
    let (value, status) = match operation {
        Binary::Add => add(a, b, 0, size),
        Binary::AddCarry => add(a, b, rflags & CF, size),
        Binary::Subtract | Binary::Compare => subtract(a, b, 0, size),
        Binary::SubtractBorrow => subtract(a, b, rflags & CF, size),
        Binary::And | Binary::Test => logic(a & b),
        Binary::Or => logic(a | b),
        Binary::Xor => logic(a ^ b),
    };
    Outcome {
        value,
        rflags: rflags & !STATUS | status,
    }
}

/// `op a`.
pub(crate) fn unary(operation: Unary, a: u64, rflags: u64, size: u8) -> Outcome {
    let a = a & mask(size);
    let (value, kept, status) = match operation {
        Unary::Increment => {
            let (value, status) = add(a, 1, 0, size);
            (value, CF, status)
        }
        Unary::Decrement => {
            let (value, status) = subtract(a, 1, 0, size);
            (value, CF, status)
        }
        Unary::Not => (!a & mask(size), STATUS, 0),
        Unary::Negate => {
            let (value, status) = subtract(0, a, 0, size);
            (value, 0, status)
        }
    };
    let changed = STATUS & !kept;
    Outcome {
        value,
        rflags: rflags & !changed | status & changed,
    }
}

/// The bit test of bit `index` (modulo the operand's bits).
pub(crate) fn bit(operation: BitTest, a: u64, index: u64, rflags: u64, size: u8) -> Outcome {
    let bit = 1 << (index & u64::from(size * 8 - 1));
    let value = match operation {
        BitTest::Test => a,
        BitTest::Set => a | bit,
        BitTest::Reset => a & !bit,
        BitTest::Complement => a ^ bit,
    };
    Outcome {
        value: value & mask(size),
        rflags: rflags & !CF | flag(a & bit != 0, CF),
    }
}
