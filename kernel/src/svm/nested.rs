//! Storage of nested page tables (APM vol. 2 §15.25): what an mmu server asks for is entered here, with host frames for guest frames.
//!
//! They are a cache: a mapping that is taken away costs a fault and nothing else.

use atoll_protocol::effect::Mapping;
use atoll_protocol::units::Hpa;

use crate::memory::frames::Frames;
use crate::memory::paging::{self, LARGE, NO_EXECUTE, PRESENT, PageSize, USER, WRITE};

/// Tables that one mapping may need.
pub(crate) const TABLES: u64 = 3;

/// The nested tables of the machine.
pub(crate) struct Nested {
    root: Hpa,
}

impl Nested {
    /// Empty tables.
    pub(crate) fn new(frames: &mut Frames) -> Option<Self> {
        Some(Nested { root: frames.alloc()? })
    }

    /// For the VMCB.
    pub(crate) fn root(&self) -> u64 {
        self.root.0
    }

    /// Enters `mapping`, whose frame lies at `to`; what was mapped there is replaced.
    pub(crate) fn map(&mut self, mapping: &Mapping, to: Hpa, frames: &mut Frames) {
        let (size, large) = if mapping.size == Mapping::LARGE { (PageSize::Large, LARGE) } else { (PageSize::Small, 0) };
        let write = if mapping.access & Mapping::WRITE != 0 { WRITE } else { 0 };
        let execute = if mapping.access & Mapping::EXECUTE != 0 { 0 } else { NO_EXECUTE };
        let leaf = to.0 | PRESENT | USER | write | execute | large;
        if paging::insert(self.root, mapping.gpa.0, leaf, size, frames).is_err() {
            self.unmap(mapping, frames);
            // The place is free now; what can still fail is a table, and those were counted in the check.
            let _ = paging::insert(self.root, mapping.gpa.0, leaf, size, frames);
        }
    }

    /// Takes away all that is mapped in the page of `mapping`.
    pub(crate) fn unmap(&mut self, mapping: &Mapping, frames: &mut Frames) {
        let size = if mapping.size == Mapping::LARGE { PageSize::Large } else { PageSize::Small };
        paging::remove(self.root, mapping.gpa.0, size, frames);
    }
}
