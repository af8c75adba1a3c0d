//! What a forwarded access carries, so that its result finds its way: the stage, and a number.
//!
//! The instruction itself is decoded again when the result comes; only what cannot be found out again is in the token.

/// What the result is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The old value of a memory operand; the number is its guest-physical address.
    Modify,
    /// The element that MOVS read from a device.
    Move,
    /// The element that CMPS read from a device; the number is its guest-physical address.
    Compare,
    /// The element that SCAS read.
    Scan,
    /// INS; the number is the count of elements.
    In,
    /// OUTS; the number is the count of elements.
    Out,
    /// The element that OUTS read from a device.
    OutFrom,
    /// Bytes of an operand for the CPU; the number says which.
    Fetch,
    /// The CPU has executed the instruction.
    Executed,
    /// Bytes that it has stored, on their way to the device; the number says which.
    Store,
}

/// Stages by their number in a token.
const STAGES: [Stage; 10] = [
    Stage::Modify,
    Stage::Move,
    Stage::Compare,
    Stage::Scan,
    Stage::In,
    Stage::Out,
    Stage::OutFrom,
    Stage::Fetch,
    Stage::Executed,
    Stage::Store,
];

/// Bits of the stage.
const STAGE_BITS: u32 = 8;

/// Packs; guest-physical addresses have at most 52 bits.
pub(crate) fn pack(stage: Stage, number: u64) -> u64 {
    number << STAGE_BITS | stage as u64
}

/// Unpacks.
pub(crate) fn unpack(token: u64) -> Option<(Stage, u64)> {
    let stage = STAGES.get((token & ((1 << STAGE_BITS) - 1)) as usize)?;
    Some((*stage, token >> STAGE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for stage in STAGES {
            assert_eq!(
                unpack(pack(stage, 0xf_ffff_fee0_0390)),
                Some((stage, 0xf_ffff_fee0_0390))
            );
        }
        assert_eq!(unpack(0xff), None);
    }
}
