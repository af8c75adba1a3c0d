//! The bump allocator: what crossbeam's queues need, taken once at boot.
//!
//! Nothing is given back. After [`seal`], which comes before the first activation, every allocation fails, so that nothing at run time
//! can depend on a heap.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for all queues of the machine.
const SIZE: usize = 256 * 1024;

#[repr(C, align(64))]
struct Heap {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `used` only grows, so that no two allocations share a byte of `bytes`.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: what is handed out lies in `bytes`, is aligned, and is never handed out again.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let place = |used: usize| {
            let start = (base.addr() + used).next_multiple_of(layout.align()) - base.addr();
            start.checked_add(layout.size()).filter(|end| *end <= SIZE).map(|end| (start, end))
        };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| place(used).map(|(_, end)| end)) {
            Ok(used) => place(used).map_or(core::ptr::null_mut(), |(start, _)| base.wrapping_add(start)),
            Err(_) => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _pointer: *mut u8, _layout: Layout) {}
}

/// Ends allocation for good; gives the bytes that were used.
pub(crate) fn seal() -> usize {
    HEAP.used.swap(SIZE, Ordering::Relaxed)
}
