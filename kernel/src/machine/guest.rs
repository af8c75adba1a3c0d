//! Guest memory: one stretch of the host's, seen through the guest's addresses.

use atoll_protocol::layout::ram_offset;
use atoll_protocol::units::{Gpa, Hpa};

use crate::memory::direct;

/// Guest memory; of size 0 before it exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub(super) base: Hpa,
    pub(super) size: u64,
}

impl Guest {
    /// None yet.
    pub(super) const NONE: Guest = Guest {
        base: Hpa(0),
        size: 0,
    };

    /// Where `length` bytes at `gpa` are, if they are RAM without a gap.
    #[inline(always)]
    pub(super) fn place(&self, gpa: Gpa, length: u64) -> Option<Hpa> {
        let first = ram_offset(self.size, gpa.0)?;
        let last = ram_offset(self.size, gpa.0.checked_add(length.max(1) - 1)?)?;
        (last - first == length.max(1) - 1).then_some(Hpa(self.base.0 + first))
    }

    /// Copies out; false if it is not all RAM.
    #[inline(always)]
    pub(super) fn read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        let Some(from) = self.place(gpa, into.len() as u64) else {
            return false;
        };
        // SAFETY: `place` found that many bytes of guest memory, which the kernel holds no reference to; the guest does not run now.
        unsafe {
            core::ptr::copy_nonoverlapping(direct::pointer(from), into.as_mut_ptr(), into.len())
        };
        true
    }

    /// Eight bytes at a place that [`Guest::place`] has found for them.
    #[inline(always)]
    pub(super) fn peek(at: Hpa) -> u64 {
        // SAFETY: `place` found eight bytes of guest memory there; guest memory does not move.
        unsafe { direct::pointer::<u64>(at).read_unaligned() }
    }

    /// Copies in; nothing happens if it is not all RAM.
    pub(super) fn write(&self, gpa: Gpa, bytes: &[u8]) {
        let Some(to) = self.place(gpa, bytes.len() as u64) else {
            return;
        };
        // SAFETY: `place` found that many bytes of guest memory, which the kernel holds no reference to; the guest does not run now.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), direct::pointer(to), bytes.len()) };
    }
}
