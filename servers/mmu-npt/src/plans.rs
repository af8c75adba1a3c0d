//! The cache of decoded instructions, and the quick way out of it for plain loads and stores.
//!
//! An entry keeps every word of guest memory that its plan was made from: the page-table entries of the walk and the words of the
//! instruction. On a hit all of them are held against what is there now, so that a warm cache answers exactly what a cold one would:
//! guests remap code without changing CR3, and patch it. That costs a few loads, where a walk and a decode cost two thousand instructions.
//!
//! Words are compared whole. An accessed or dirty bit that the CPU has set meanwhile, or a neighbour of the instruction that was written,
//! makes a miss; both are rare, and a mask for each word is not free.

use atoll_protocol::effect::Forward;
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::Context;
use atoll_sdk::GuestMemory;
use atoll_sdk::guest::Snapshot;

use crate::decode::{DecodeError, LONGEST, decode};
use crate::device::{self, DECISIVE};
use crate::fetch::{NoPlan, fetch};
use crate::mode::{
    CR0_PG, CR4_PAE, CR4_PSE, CS_LONG, CodeSize, EFER_LMA, EFER_NXE, SEGMENT_BIG, code_size,
    instruction_address,
};
use crate::plan::{Action, Plan, Repeat};
use crate::ram;
use crate::walk::{Access, walk};

/// Entries; a guest has about ten places that touch devices often.
const ENTRIES: usize = 32;
/// Words that are looked at first: three levels and an instruction of one word, or two of each.
const FIRST: usize = 4;
/// Words of an entry: four levels and three words.
const WORDS: usize = 7;

/// Decoded instructions, direct-mapped.
#[derive(Debug)]
pub struct Plans {
    entries: [Entry; ENTRIES],
}

impl Default for Plans {
    fn default() -> Self {
        Plans {
            entries: [Entry::EMPTY; ENTRIES],
        }
    }
}

// A power of two, so that finding one takes a shift.
#[derive(Clone, Copy, Debug)]
#[repr(align(256))]
struct Entry {
    linear: u64,
    cr3: u64,
    efer: u32,
    cs_attributes: u16,
    /// Whether there is anything in `rest`.
    long: bool,
    /// What a fault's error code must be, of the bits that decide, so that `forward` answers it; else [`Entry::NO_FORWARD`].
    error: u64,
    /// The answer to it, but for the address.
    forward: Forward,
    first: Snapshot<FIRST>,
    rest: Snapshot<{ WORDS - FIRST }>,
    mode: u64,
    plan: Plan,
}

/// All that a walk and the decoder take from the mode, in one word.
fn mode(context: &Context) -> u64 {
    context.cr0 & CR0_PG
        | context.cr4 & (CR4_PAE | CR4_PSE)
        | context.efer & (EFER_LMA | EFER_NXE)
        | u64::from(context.cs_attributes & (CS_LONG | SEGMENT_BIG)) << 32
}

/// Where the instruction at a linear address has its entry.
#[inline(always)]
fn place(linear: u64) -> usize {
    (linear ^ linear >> 5) as usize % ENTRIES
}

impl Plans {
    /// How a fault of 64-bit code outside RAM is answered, but for the address, if that is known: by a plain load or store.
    #[inline(always)]
    pub(crate) fn forward(
        &self,
        context: &Context,
        guest: &GuestMemory<'_>,
        error: u64,
    ) -> Option<&Forward> {
        let entry = &self.entries[place(context.rip)];
        // In 64-bit mode this is all of the mode that matters: long mode implies paging with eight-byte entries.
        let same = entry.linear == context.rip
            && entry.cr3 == context.cr3
            && u64::from(entry.efer) == context.efer
            && entry.cs_attributes == context.cs_attributes
            && entry.error == error & DECISIVE;
        (same && entry.is_true(guest)).then_some(&entry.forward)
    }

    /// The plan of the instruction at the context's RIP.
    pub(crate) fn plan(
        &mut self,
        context: &Context,
        guest: &GuestMemory<'_>,
        physical_bits: u64,
    ) -> Result<Plan, NoPlan> {
        let linear = instruction_address(context);
        let entry = &mut self.entries[place(linear)];
        if entry.linear == linear
            && entry.cr3 == context.cr3
            && entry.mode == mode(context)
            && entry.is_true(guest)
        {
            return Ok(entry.plan);
        }
        learn(entry, context, guest, physical_bits)
    }
}

#[cold]
#[inline(never)]
fn learn(
    entry: &mut Entry,
    context: &Context,
    guest: &GuestMemory<'_>,
    physical_bits: u64,
) -> Result<Plan, NoPlan> {
    let mut bytes = [0; LONGEST];
    let fetched = fetch(context, guest, physical_bits, &mut bytes)?;
    let plan = match decode(
        code_size(context),
        bytes.get(..fetched.length).unwrap_or(&[]),
    ) {
        Ok(plan) => plan,
        // Fifteen bytes do not suffice for any instruction.
        Err(DecodeError::Short) if fetched.length < LONGEST => return Err(fetched.rest),
        Err(_) => return Err(NoPlan::Invalid),
    };
    if let Some(new) = Entry::new(plan, context, guest, physical_bits, &bytes) {
        *entry = new;
    }
    Ok(plan)
}

impl Entry {
    /// No error code.
    const NO_FORWARD: u64 = u64::MAX;

    const EMPTY: Entry = Entry {
        linear: 0,
        cr3: 0,
        efer: 0,
        cs_attributes: 0,
        long: false,
        error: Entry::NO_FORWARD,
        forward: device::NOTHING,
        first: Snapshot::NEVER,
        rest: Snapshot::NEVER,
        mode: 0,
        plan: Plan {
            action: Action::Unsupported,
            length: 0,
            repeat: Repeat::Once,
            address_size: 0,
            segment: 0,
        },
    };

    #[inline(always)]
    fn is_true(&self, guest: &GuestMemory<'_>) -> bool {
        guest.is_still(&self.first) && (!self.long || guest.is_still(&self.rest))
    }

    /// What is to be known of a plan made of `bytes`; `None` if the instruction crosses a page, or does not stay the same.
    fn new(
        plan: Plan,
        context: &Context,
        guest: &GuestMemory<'_>,
        physical_bits: u64,
        bytes: &[u8; LONGEST],
    ) -> Option<Entry> {
        let linear = instruction_address(context);
        let words = Words::new(
            linear,
            context,
            guest,
            physical_bits,
            bytes.get(..usize::from(plan.length))?,
        )?;
        let (first, rest) = words.all().split_at(FIRST.min(words.used));
        let mut new = Entry {
            linear,
            cr3: context.cr3,
            mode: mode(context),
            plan,
            ..Entry::EMPTY
        };
        new.first = Snapshot::new(guest, first).ok()?;
        if !rest.is_empty() {
            new.rest = Snapshot::new(guest, rest).ok()?;
            new.long = true;
        }
        if let (CodeSize::Bits64, Ok(efer)) = (code_size(context), u32::try_from(context.efer)) {
            (new.efer, new.cs_attributes) = (efer, context.cs_attributes);
            if let Some((error, forward)) = device::plain(&plan, context) {
                (new.error, new.forward) = (error, forward);
            }
        }
        Some(new)
    }
}

/// The words that a plan depends on.
struct Words {
    words: [(Gpa, u64); WORDS],
    used: usize,
}

impl Words {
    fn new(
        linear: u64,
        context: &Context,
        guest: &GuestMemory<'_>,
        physical_bits: u64,
        bytes: &[u8],
    ) -> Option<Words> {
        let length = bytes.len() as u64;
        if (linear & 0xfff) + length > 0x1000 {
            return None;
        }
        let path = walk(context, guest, physical_bits, linear, Access::Fetch).ok()?;
        let mut words = Words {
            words: [(Gpa(0), 0); WORDS],
            used: 0,
        };
        for step in path.steps() {
            words.add(
                guest,
                step.gpa,
                step.entry.to_le_bytes().get(..step.size as usize)?,
            )?;
        }
        let mut from = path.gpa;
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(8 - (from & 7) as usize));
            words.add(guest, from, now)?;
            from += now.len() as u64;
            left = later;
        }
        Some(words)
    }

    /// Adds the word around `bytes`, if they are still there.
    fn add(&mut self, guest: &GuestMemory<'_>, gpa: u64, bytes: &[u8]) -> Option<()> {
        let word = gpa & !7;
        let value = ram::read_u64(guest, word)?;
        let place = (gpa - word) as usize;
        if value.to_le_bytes().get(place..place + bytes.len())? != bytes {
            return None;
        }
        *self.words.get_mut(self.used)? = (Gpa(word), value);
        self.used += 1;
        Some(())
    }

    fn all(&self) -> &[(Gpa, u64)] {
        self.words.get(..self.used).unwrap_or(&[])
    }
}
