//! Guest memory as a server sees it: read-only, and changing under its feet.

mod snapshot;

use core::marker::PhantomData;

use atoll_protocol::layout::ram_offset;
use atoll_protocol::units::Gpa;

pub use snapshot::Snapshot;

/// Read access to guest memory. Another vCPU may write it at any time: copy once, then decide.
#[derive(Clone, Copy, Debug)]
pub struct GuestMemory<'g> {
    base: *const u8,
    size: u64,
    lifetime: PhantomData<&'g [u8]>,
}

/// The bytes asked for are not all guest RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRam;

impl<'g> GuestMemory<'g> {
    /// No guest memory: for servers without the grant.
    pub const NONE: GuestMemory<'static> = GuestMemory {
        base: core::ptr::null(),
        size: 0,
        lifetime: PhantomData,
    };

    /// Guest memory that is a slice: on the host.
    #[must_use]
    pub fn slice(bytes: &'g [u8]) -> Self {
        GuestMemory {
            base: bytes.as_ptr(),
            size: bytes.len() as u64,
            lifetime: PhantomData,
        }
    }

    /// Guest memory mapped at `base`.
    ///
    /// # Safety
    /// `size` bytes at `base` are mapped and readable for `'g`.
    #[must_use]
    pub unsafe fn mapped(base: *const u8, size: u64) -> Self {
        GuestMemory {
            base,
            size,
            lifetime: PhantomData,
        }
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where `length` bytes at `gpa` are, if they are all RAM.
    #[inline(always)]
    fn place(&self, gpa: Gpa, length: usize) -> Result<*const u8, NotRam> {
        let offset = ram_offset(self.size, gpa.0).ok_or(NotRam)?;
        let last = offset.checked_add(length as u64).ok_or(NotRam)?;
        // The two parts of RAM are adjacent in the mapping but not in the guest: the last byte must be in the same part.
        let straight =
            length == 0 || ram_offset(self.size, gpa.0 + (length as u64 - 1)) == Some(last - 1);
        if last <= self.size && straight {
            Ok(self.base.wrapping_add(offset as usize))
        } else {
            Err(NotRam)
        }
    }

    /// Copies `into.len()` bytes from `gpa`.
    ///
    /// # Errors
    /// Some of them are not RAM; then nothing is copied.
    #[inline]
    pub fn read(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), NotRam> {
        let from = self.place(gpa, into.len())?;
        for (index, byte) in into.iter_mut().enumerate() {
            // SAFETY: `place` found `into.len()` readable bytes here, and a volatile read of a byte is defined whatever the guest does.
            *byte = unsafe { from.wrapping_add(index).read_volatile() };
        }
        Ok(())
    }

    /// Reads eight bytes, little-endian; `gpa` must be a multiple of eight.
    ///
    /// # Errors
    /// They are not RAM, or not aligned.
    #[inline(always)]
    pub fn read_u64(&self, gpa: Gpa) -> Result<u64, NotRam> {
        if !gpa.0.is_multiple_of(8) {
            return Err(NotRam);
        }
        let from = self.place(gpa, 8)?;
        // SAFETY: `place` found eight readable bytes here.
        Ok(unsafe { word(from) })
    }
}

/// Reads eight bytes, at once where the memory is aligned (it always is in ring 3): another vCPU's write to a page-table entry is seen
/// whole or not at all. An array of bytes would be read byte by byte.
///
/// # Safety
/// Eight bytes at `from` are readable.
#[inline(always)]
unsafe fn word(from: *const u8) -> u64 {
    let aligned = from.cast::<u64>();
    if aligned.is_aligned() {
        // SAFETY: the caller's promise, and it is aligned.
        u64::from_le(unsafe { aligned.read_volatile() })
    } else {
        // SAFETY: the caller's promise; an array of bytes has no alignment.
        u64::from_le_bytes(unsafe { from.cast::<[u8; 8]>().read_volatile() })
    }
}
