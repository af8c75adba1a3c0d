//! What of the kernel's image is reached by its physical address: by the processor, by the host, or by a server that it is mapped into.

use core::cell::UnsafeCell;

use atoll_protocol::units::Hpa;

use super::layout::image_address;

/// A static on pages of its own, written behind the compiler's back.
#[repr(C, align(4096))]
pub(crate) struct Physical<T>(UnsafeCell<T>);

// SAFETY: it gives away pointers only; whoever follows one says why nobody else does at that time.
unsafe impl<T> Sync for Physical<T> {}

impl<T> Physical<T> {
    /// With this content.
    pub(crate) const fn new(content: T) -> Self {
        Physical(UnsafeCell::new(content))
    }

    /// Its content; the pointer does not dangle, and that is all.
    #[inline(always)]
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) fn address(&self) -> Hpa {
        image_address(self)
    }
}
