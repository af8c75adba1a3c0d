//! Stacks: one for each way into ring 0, each above a page that is never mapped.
//!
//! An overrun hits its guard and becomes a double fault, which has a stack of its own. AMD APM vol. 2 §8.9.4 (interrupt-stack table).

use core::cell::UnsafeCell;
use core::mem::offset_of;

use x86_64::VirtAddr;

use super::percore::CORES;
use crate::memory::paging::PAGE_SIZE;

/// A stack for the kernel proper.
const KERNEL_STACK: usize = 64 * 1024;
/// A stack for handlers.
const HANDLER_STACK: usize = 16 * 1024;
/// Where the first core's kernel stack ends in [`STACKS`], for the boot code.
pub(crate) const KERNEL_STACK_TOP: usize = offset_of!(Stacks, kernel) + size_of::<Stack<KERNEL_STACK>>();

/// A stack above a page that is never mapped.
#[repr(C, align(4096))]
pub(crate) struct Stack<const SIZE: usize> {
    guard: [u8; PAGE_SIZE as usize],
    bytes: UnsafeCell<[u8; SIZE]>,
}

impl<const SIZE: usize> Stack<SIZE> {
    const fn new() -> Self {
        Stack { guard: [0; PAGE_SIZE as usize], bytes: UnsafeCell::new([0; SIZE]) }
    }

    /// The first byte above.
    pub(super) fn top(&self) -> *const u8 {
        (&raw const *self).wrapping_add(1).cast()
    }
}

/// A core's stacks.
#[repr(C)]
pub(crate) struct Stacks {
    /// The kernel proper.
    kernel: Stack<KERNEL_STACK>,
    /// Interrupts and exceptions of ring 3.
    pub(super) interrupt: Stack<HANDLER_STACK>,
    /// #DB, NMI, #DF, #MC.
    special: [Stack<HANDLER_STACK>; 4],
}

impl Stacks {
    /// The special stacks for a task-state segment: the n-th special one in slot n.
    pub(super) fn interrupt_stack_table(&self) -> [VirtAddr; 7] {
        core::array::from_fn(|slot| self.special.get(slot).map_or(VirtAddr::zero(), |stack| VirtAddr::from_ptr(stack.top())))
    }
}

// SAFETY: only the processor writes to stacks, each core to its own.
unsafe impl Sync for Stacks {}

/// All stacks.
pub(crate) static STACKS: [Stacks; CORES] =
    [const { Stacks { kernel: Stack::new(), interrupt: Stack::new(), special: [const { Stack::new() }; 4] } }; CORES];

/// Whether a page of the kernel's image is a guard below a stack.
pub(crate) fn is_guard(address: u64) -> bool {
    let is = |guard: &[u8; PAGE_SIZE as usize]| guard.as_ptr().addr() as u64 == address;
    STACKS.iter().any(|stacks| {
        is(&stacks.kernel.guard) || is(&stacks.interrupt.guard) || stacks.special.iter().any(|stack| is(&stack.guard))
    })
}
