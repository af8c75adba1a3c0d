//! From a vCPU's context to the plan of its instruction, with a cache in between.
//!
//! An entry of the cache keeps, as *witnesses*, every word of guest memory that the plan was made from: the page-table entries of the walk
//! and the words of the instruction. On a hit all of them are read again and compared, so that a warm cache answers exactly what a cold
//! one would: guests remap code without changing CR3, and patch it. That costs half a dozen loads, where a decode costs several hundred
//! instructions.

use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::Context;
use atoll_sdk::GuestMemory;

use crate::decode::{DecodeError, LONGEST, decode};
use crate::mode::{CR0_PG, CR4_PAE, CR4_PSE, CS_LONG, EFER_LMA, EFER_NXE, SEGMENT_BIG, code_size, instruction_address};
use crate::plan::{Action, Plan, Repeat};
use crate::ram;
use crate::walk::{Access, WalkError, walk};

/// Entries; a guest has about ten places that touch devices often.
const ENTRIES: usize = 32;
/// Witnesses of an entry: four levels and three words.
const WITNESSES: usize = 7;
/// Accessed and dirty bits, which the CPU sets at any time without a meaning for a walk.
const ACCESSED_AND_DIRTY: u64 = 0x60;

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

/// One word that a plan depends on. It was RAM to the guest when it was noted, and what is RAM does not change.
#[derive(Clone, Copy, Debug, Default)]
struct Witness {
    gpa: u64,
    mask: u64,
    value: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    linear: u64,
    cr3: u64,
    mode: u64,
    /// How many witnesses there are; 0 in an empty entry.
    used: usize,
    witnesses: [Witness; WITNESSES],
    plan: Plan,
}

impl Entry {
    const EMPTY: Entry = Entry {
        linear: 0,
        cr3: 0,
        mode: 0,
        used: 0,
        witnesses: [Witness { gpa: 0, mask: 0, value: 0 }; WITNESSES],
        plan: Plan { action: Action::Unsupported, length: 0, repeat: Repeat::Once, address_size: 0, segment: 0 },
    };

    fn witness(&mut self, witness: Witness) -> Option<()> {
        *self.witnesses.get_mut(self.used)? = witness;
        self.used += 1;
        Some(())
    }
}

/// Decoded instructions, direct-mapped.
#[derive(Debug)]
pub struct Plans {
    entries: [Entry; ENTRIES],
}

impl Default for Plans {
    fn default() -> Self {
        Plans { entries: [Entry::EMPTY; ENTRIES] }
    }
}

/// All that a walk and the decoder take from the mode, in one word.
#[inline(always)]
fn mode(context: &Context) -> u64 {
    context.cr0 & CR0_PG
        | context.cr4 & (CR4_PAE | CR4_PSE)
        | context.efer & (EFER_LMA | EFER_NXE)
        | u64::from(context.cs_attributes & (CS_LONG | SEGMENT_BIG)) << 32
}

impl Plans {
    /// The plan of the instruction at the context's RIP.
    #[inline(always)]
    pub(crate) fn plan(&mut self, context: &Context, guest: &GuestMemory<'_>, physical_bits: u64) -> Result<Plan, NoPlan> {
        let linear = instruction_address(context);
        let entry = &mut self.entries[(linear ^ linear >> 5 ^ linear >> 12) as usize % ENTRIES];
        if entry.linear == linear && entry.cr3 == context.cr3 && entry.mode == mode(context) && still_true(entry, guest) {
            return Ok(entry.plan);
        }
        learn(entry, context, guest, physical_bits)
    }
}

#[inline(always)]
fn still_true(entry: &Entry, guest: &GuestMemory<'_>) -> bool {
    let witnesses = entry.witnesses.get(..entry.used).unwrap_or(&[]);
    !witnesses.is_empty() && witnesses.iter().all(|witness| guest.word_is(Gpa(witness.gpa), witness.mask, witness.value))
}

#[cold]
#[inline(never)]
fn learn(entry: &mut Entry, context: &Context, guest: &GuestMemory<'_>, physical_bits: u64) -> Result<Plan, NoPlan> {
    entry.used = 0;
    let mut bytes = [0; LONGEST];
    let fetched = fetch(context, guest, physical_bits, &mut bytes)?;
    let plan = match decode(code_size(context), bytes.get(..fetched.length).unwrap_or(&[])) {
        Ok(plan) => plan,
        // Fifteen bytes do not suffice for any instruction.
        Err(DecodeError::Short) if fetched.length < LONGEST => return Err(fetched.rest),
        Err(_) => return Err(NoPlan::Invalid),
    };
    let mut new = Entry { linear: instruction_address(context), cr3: context.cr3, mode: mode(context), plan, ..Entry::EMPTY };
    if new.remember(context, guest, physical_bits, &bytes).is_some() {
        *entry = new;
    }
    Ok(plan)
}

impl Entry {
    /// Notes the witnesses; `None` if there are too many, or the instruction crosses a page.
    fn remember(&mut self, context: &Context, guest: &GuestMemory<'_>, physical_bits: u64, bytes: &[u8; LONGEST]) -> Option<()> {
        let length = u64::from(self.plan.length);
        if (self.linear & 0xfff) + length > 0x1000 {
            return None;
        }
        let path = walk(context, guest, physical_bits, self.linear, Access::Fetch).ok()?;
        for step in path.steps() {
            let shift = if step.size == 4 { (step.gpa & 4) * 8 } else { 0 };
            let mask = if step.size == 4 { 0xffff_ffff } else { u64::MAX } & !ACCESSED_AND_DIRTY;
            self.witness(Witness { gpa: step.gpa & !7, mask: mask << shift, value: (step.entry & mask) << shift })?;
        }
        let end = path.gpa + length;
        let mut word = path.gpa & !7;
        while word < end {
            let mut witness = Witness { gpa: word, mask: 0, value: 0 };
            for place in 0..8 {
                let byte = (word + place).checked_sub(path.gpa).filter(|index| *index < length);
                if let Some(byte) = byte.and_then(|index| bytes.get(index as usize)) {
                    witness.mask |= 0xff << (place * 8);
                    witness.value |= u64::from(*byte) << (place * 8);
                }
            }
            self.witness(witness)?;
            word += 8;
        }
        Some(())
    }
}

/// Bytes of an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    /// How many there are.
    pub(crate) length: usize,
    /// Why there are no more, if an instruction needs them.
    rest: NoPlan,
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
        let next = if context.efer & EFER_LMA != 0 { next } else { next & 0xffff_ffff };
        page(context, guest, physical_bits, next, tail)
    };
    Ok(match rest {
        Ok(()) => Fetched { length: LONGEST, rest: NoPlan::Invalid },
        Err(rest) => Fetched { length: first, rest },
    })
}

fn page(context: &Context, guest: &GuestMemory<'_>, bits: u64, linear: u64, into: &mut [u8]) -> Result<(), NoPlan> {
    let path = walk(context, guest, bits, linear, Access::Fetch).map_err(|error| match error {
        WalkError::PageFault(_) => NoPlan::Unmapped,
        WalkError::TableNotRam => NoPlan::NotRam,
    })?;
    ram::read(guest, path.gpa, into).ok_or(NoPlan::NotRam)
}
