//! Stacks: one for each way into ring 0, each above a page that is never mapped.
//!
//! An overrun hits its guard and becomes a double fault, which has a stack of its own. AMD APM vol. 2 §8.9.4 (interrupt-stack table).

use core::cell::UnsafeCell;

use x86_64::VirtAddr;

use super::core_id::{CORES, PerCore};
use crate::memory::layout::PAGE_SIZE;

/// Bytes of a stack.
const SIZE: usize = 64 * 1024;
/// Where the first core's kernel stack ends in [`STACKS`], for the boot code.
pub(crate) const KERNEL_STACK_TOP: usize = size_of::<Stack>();

/// A stack above a page that is never mapped.
#[repr(C, align(4096))]
pub(crate) struct Stack {
    guard: [u8; PAGE_SIZE as usize],
    bytes: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: only the processor writes to stacks, each core to its own.
unsafe impl Sync for Stack {}

impl Stack {
    const fn new() -> Self {
        Stack {
            guard: [0; PAGE_SIZE as usize],
            bytes: UnsafeCell::new([0; SIZE]),
        }
    }

    /// The first byte above.
    pub(super) fn top(&self) -> VirtAddr {
        VirtAddr::from_ptr((&raw const *self).wrapping_add(1))
    }
}

/// A core's stacks: for the kernel proper; for interrupts and exceptions of ring 3; for #DB, NMI, #DF and #MC.
pub(super) type Stacks = [Stack; 6];

/// All stacks.
pub(crate) static STACKS: PerCore<Stacks> =
    PerCore::new([const { [const { Stack::new() }; 6] }; CORES]);

/// Whether a page of the kernel's image is a guard below a stack.
pub(crate) fn is_guard(address: u64) -> bool {
    STACKS
        .all()
        .as_flattened()
        .iter()
        .any(|stack| stack.guard.as_ptr().addr() as u64 == address)
}
