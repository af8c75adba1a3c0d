//! A walk of the guest's own page tables (APM vol. 2 §5.2 to §5.6): 32-bit with 4 MiB pages, PAE, and four levels.
//!
//! The tables are whatever the guest has put there: a walk takes at most four steps, and tables outside RAM end it. Every entry is read
//! once. Nothing is written here; [`Walk::mark`] emits the accessed and dirty bits.

use atoll_protocol::effect::GuestCas;
use atoll_protocol::role::{Mmu, MmuEffect};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::Context;
use atoll_sdk::{Effects, GuestMemory};

use crate::mode::{CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, CR4_SMAP, EFER_LMA, EFER_NXE, RFLAGS_AC};
use crate::ram;

/// Physical address bits of an eight-byte entry.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Most levels of a walk.
pub(crate) const LEVELS: usize = 4;

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The emulator's look at an instruction that the CPU has just executed: the CPU has checked the permissions.
    Fetch,
    /// A load.
    Read,
    /// A store.
    Write,
}

/// Why a walk ended without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    /// The guest takes a page fault with this error code.
    PageFault(u32),
    /// A table is not in RAM.
    TableNotRam,
}

/// One entry of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where the entry is.
    pub(crate) gpa: u64,
    /// What it was.
    pub(crate) entry: u64,
    /// Its bytes: 4 or 8.
    pub(crate) size: u64,
    /// The accessed bit, or 0 where the entry has none.
    accessed: u64,
}

/// A successful walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// The guest-physical address.
    pub(crate) gpa: u64,
    steps: [Step; LEVELS],
    used: usize,
}

impl Walk {
    /// The path, from the root.
    pub(crate) fn steps(&self) -> &[Step] {
        self.steps.get(..self.used).unwrap_or(&[])
    }

    /// Sets the accessed bits on the path, and the dirty bit of the leaf for a write, where they are missing.
    pub(crate) fn mark(&self, access: Access, effects: &mut Effects<'_, Mmu>) {
        self.mark_unless(access, effects, |_| false);
    }

    /// The same, without the entries that `other` has marked already.
    pub(crate) fn mark_beside(&self, other: &Walk, access: Access, effects: &mut Effects<'_, Mmu>) {
        self.mark_unless(access, effects, |gpa| {
            other.steps().iter().any(|step| step.gpa == gpa)
        });
    }

    fn mark_unless(
        &self,
        access: Access,
        effects: &mut Effects<'_, Mmu>,
        marked: impl Fn(u64) -> bool,
    ) {
        for (index, step) in self.steps().iter().enumerate() {
            // A table that maps itself has the same entry on several levels: it is changed once, for all of them.
            let earlier = self
                .steps()
                .iter()
                .take(index)
                .any(|other| other.gpa == step.gpa);
            let levels = self
                .steps()
                .iter()
                .enumerate()
                .filter(|(_, other)| other.gpa == step.gpa);
            let new = levels.fold(step.entry, |entry, (level, other)| {
                let dirty = if access == Access::Write && level + 1 == self.used {
                    DIRTY
                } else {
                    0
                };
                entry | other.accessed | dirty
            });
            if new != step.entry && !earlier && !marked(step.gpa) {
                effects.emit(MmuEffect::GuestCas(GuestCas {
                    gpa: Gpa(step.gpa),
                    old: step.entry,
                    new,
                    size: step.size,
                }));
            }
        }
    }
}

/// Reads the entry at `gpa`.
fn entry_at(guest: &GuestMemory<'_>, gpa: u64, size: u64) -> Option<u64> {
    let both = ram::read_u64(guest, gpa & !7)?;
    Some(if size == 8 {
        both
    } else {
        both >> ((gpa & 4) * 8) & 0xffff_ffff
    })
}

/// Translates a linear address.
pub(crate) fn walk(
    context: &Context,
    guest: &GuestMemory<'_>,
    physical_bits: u64,
    linear: u64,
    access: Access,
) -> Result<Walk, WalkError> {
    let mut path = Walk {
        gpa: linear & 0xffff_ffff,
        steps: [Step::default(); LEVELS],
        used: 0,
    };
    if context.cr0 & CR0_PG == 0 {
        return Ok(path);
    }
    let long = context.efer & EFER_LMA != 0;
    let user = context.cpl == 3;
    let wanted = u32::from(access == Access::Write) << 1 | u32::from(user) << 2;
    let (size, bits, mut shift, mut table) = if context.cr4 & CR4_PAE == 0 {
        (4, 10, 22, context.cr3 & 0xffff_f000)
    } else if long {
        (8, 9, 39, context.cr3 & FRAME)
    } else {
        (8, 9, 30, context.cr3 & 0xffff_ffe0)
    };
    let linear = if long { linear } else { linear & 0xffff_ffff };
    let mut rights = WRITABLE | USER;
    for slot in &mut path.steps {
        let gpa = table + (linear >> shift & ((1 << bits) - 1)) * size;
        let entry = entry_at(guest, gpa, size).ok_or(WalkError::TableNotRam)?;
        if entry & PRESENT == 0 {
            return Err(WalkError::PageFault(wanted));
        }
        // A PAE page-directory pointer has neither rights nor an accessed bit.
        let pointer = shift == 30 && !long;
        *slot = Step {
            gpa,
            entry,
            size,
            accessed: if pointer { 0 } else { ACCESSED },
        };
        path.used += 1;
        if !pointer {
            rights &= entry;
        }
        let leaf = shift == 12
            || entry & LARGE != 0
                && match shift {
                    21 => true,
                    22 => context.cr4 & CR4_PSE != 0,
                    30 => long,
                    _ => false,
                };
        let no_execute = entry & NO_EXECUTE != 0 && (context.efer & EFER_NXE == 0 || pointer);
        let high = size == 8
            && (entry & FRAME)
                .checked_shr(physical_bits as u32)
                .unwrap_or(0)
                != 0;
        if no_execute || high || entry & LARGE != 0 && shift == 39 {
            return Err(WalkError::PageFault(wanted | 1 | 1 << 3));
        }
        if leaf {
            let offset = (1 << shift) - 1;
            let frame = match size {
                // Bits 13 to 20 of a 4 MiB entry are bits 32 to 39 of the address (PSE-36).
                4 if shift == 22 => entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32,
                4 => entry & 0xffff_f000,
                _ => entry & FRAME & !offset,
            };
            path.gpa = frame | linear & offset;
            return if allowed(context, rights, access) {
                Ok(path)
            } else {
                Err(WalkError::PageFault(wanted | 1))
            };
        }
        table = entry & FRAME;
        shift -= bits;
    }
    Err(WalkError::TableNotRam)
}

/// Whether the rights collected on the path suffice (APM vol. 2 §5.6).
fn allowed(context: &Context, rights: u64, access: Access) -> bool {
    if access == Access::Fetch {
        return true;
    }
    let user = context.cpl == 3;
    if user && rights & USER == 0 {
        return false;
    }
    if !user && rights & USER != 0 && context.cr4 & CR4_SMAP != 0 && context.rflags & RFLAGS_AC == 0
    {
        return false;
    }
    access != Access::Write || rights & WRITABLE != 0 || !user && context.cr0 & CR0_WP == 0
}
