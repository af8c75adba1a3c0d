//! The bytes of a vCPU's instruction, by a walk of its own tables.

use atoll_protocol::vcpu::Context;
use atoll_sdk::GuestMemory;

use crate::decode::LONGEST;
use crate::mode::{EFER_LMA, instruction_address};
use crate::ram;
use crate::walk::{Access, WalkError, walk};

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlan {
    /// The instruction is no longer mapped: let the guest run and take its own fault.
    Unmapped,
    /// The instruction, or a page table on the way, is not in RAM.
    NotRam,
    /// The bytes are not an instruction.
    Invalid,
}

/// Bytes of an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    /// How many there are.
    pub(crate) length: usize,
    /// Why there are no more, if an instruction needs them.
    pub(crate) rest: NoPlan,
}

/// Copies up to 15 bytes at RIP, over a page boundary if there is one.
pub(crate) fn fetch(
    context: &Context,
    guest: &GuestMemory<'_>,
    physical_bits: u64,
    bytes: &mut [u8; LONGEST],
) -> Result<Fetched, NoPlan> {
    let linear = instruction_address(context);
    let first = LONGEST.min(0x1000 - (linear & 0xfff) as usize);
    let (head, tail) = bytes.split_at_mut(first);
    page(context, guest, physical_bits, linear, head)?;
    let rest = if tail.is_empty() {
        Ok(())
    } else {
        let next = linear.wrapping_add(first as u64);
        let next = if context.efer & EFER_LMA != 0 {
            next
        } else {
            next & 0xffff_ffff
        };
        page(context, guest, physical_bits, next, tail)
    };
    Ok(match rest {
        Ok(()) => Fetched {
            length: LONGEST,
            rest: NoPlan::Invalid,
        },
        Err(rest) => Fetched {
            length: first,
            rest,
        },
    })
}

fn page(
    context: &Context,
    guest: &GuestMemory<'_>,
    bits: u64,
    linear: u64,
    into: &mut [u8],
) -> Result<(), NoPlan> {
    let path = walk(context, guest, bits, linear, Access::Fetch).map_err(|error| match error {
        WalkError::PageFault(_) => NoPlan::Unmapped,
        WalkError::TableNotRam => NoPlan::NotRam,
    })?;
    ram::read(guest, path.gpa, into).ok_or(NoPlan::NotRam)
}
