//! Storage of nested page tables (APM vol. 2 §15.25): what an mmu server asks for is entered here, with host frames for guest frames.
//!
//! They are a cache: a mapping that is taken away costs a fault and nothing else. The processor caches them in turn, the tables as well as what
//! they say: a table that is taken out goes back to the free frames only after the guest has run with everything flushed.

use atoll_core::machine::Stale;
use atoll_protocol::effect::Mapping;
use atoll_protocol::units::{Gpa, Hpa};

use crate::memory::frames::{Frames, Retired};
use crate::memory::paging::{self, PageSize, PageTableFlags, Removed};

/// Of the page that a mapping is about.
#[inline(always)]
fn size_of(mapping: &Mapping) -> PageSize {
    if mapping.size == Mapping::LARGE {
        PageSize::Large
    } else {
        PageSize::Small
    }
}

/// The nested tables of the machine.
pub(crate) struct Nested {
    root: Hpa,
    retired: Retired,
}

impl Nested {
    /// Empty tables.
    pub(crate) fn new(frames: &mut Frames) -> Option<Self> {
        Some(Nested {
            root: frames.alloc()?,
            retired: Retired::NONE,
        })
    }

    /// For the VMCB.
    pub(crate) fn root(&self) -> u64 {
        self.root.0
    }

    /// Enters `mapping`, whose frame lies at `to`; what was mapped there is replaced. `frames` has as many as all of guest memory can need.
    #[inline(always)]
    pub(crate) fn map(&mut self, mapping: &Mapping, to: Hpa, frames: &mut Frames) -> Stale {
        let mut flags = PageTableFlags::USER_ACCESSIBLE;
        flags.set(
            PageTableFlags::WRITABLE,
            mapping.access & Mapping::WRITE != 0,
        );
        flags.set(
            PageTableFlags::NO_EXECUTE,
            mapping.access & Mapping::EXECUTE == 0,
        );
        let occupied = paging::insert(
            self.root,
            mapping.gpa.0,
            to,
            flags,
            size_of(mapping),
            frames,
        )
        .is_err();
        if occupied {
            self.replace(mapping, to, flags, frames);
        }
        Stale(occupied)
    }

    #[cold]
    #[inline(never)]
    fn replace(&mut self, mapping: &Mapping, to: Hpa, flags: PageTableFlags, frames: &mut Frames) {
        let _ = self.unmap(mapping);
        // The place is free now; what can still fail is a table, while too many that were taken out wait for the flush. Then the guest runs, with
        // that flush, and faults again: the tables are a cache.
        let _ = paging::insert(
            self.root,
            mapping.gpa.0,
            to,
            flags,
            size_of(mapping),
            frames,
        );
    }

    /// Takes away all that is mapped in the page of `mapping`.
    pub(crate) fn unmap(&mut self, mapping: &Mapping) -> Stale {
        let removed = paging::remove(self.root, mapping.gpa.0, size_of(mapping));
        if let Removed::Table(table) = removed {
            self.retired.add(table);
        }
        Stale(removed != Removed::Nothing)
    }

    /// Enters the page of 4 KiB at `to` for `gpa`, where nothing is mapped but by an emulator that errs: then the guest faults once more.
    pub(crate) fn stand_in(&mut self, gpa: Gpa, to: Hpa, frames: &mut Frames) -> Stale {
        let flags =
            PageTableFlags::USER_ACCESSIBLE | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE;
        let stale = self.stand_down(gpa);
        let _ = paging::insert(self.root, gpa.0, to, flags, PageSize::Small, frames);
        stale
    }

    /// Takes it out again, with the tables that it took.
    pub(crate) fn stand_down(&mut self, gpa: Gpa) -> Stale {
        let Nested { root, retired } = self;
        Stale(paging::prune(*root, gpa.0, &mut |table| retired.add(table)))
    }

    /// Takes away everything, wherever it is mapped.
    pub(crate) fn clear(&mut self) -> Stale {
        let Nested { root, retired } = self;
        paging::clear(*root, 4, &mut |table| retired.add(table));
        Stale(true)
    }

    /// The guest has run with everything flushed: nothing is walked any more that was taken out before.
    pub(crate) fn flushed(&mut self, frames: &mut Frames) {
        frames.free_all(&mut self.retired);
    }
}
