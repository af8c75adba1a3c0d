//! A fault of the hypervisor's own: says where, and ends the machine.

use x86_64::registers::control::{Cr2, Cr3};

use super::registers::Registers;
use crate::host::exit::{HYPERVISOR_FAULT, exit};
use crate::log;
use crate::memory::layout::KERNEL_BASE;

/// Most frames of a stack walk.
const DEPTH: usize = 24;

/// For an exception in ring 0.
pub(super) fn report(registers: &Registers) -> ! {
    log!(
        "hypervisor fault: exception {} error {:#x} cr2 {:#x}",
        registers.vector,
        registers.error,
        Cr2::read_raw()
    );
    log!(
        "cr3 {:#x} {registers:x?}",
        Cr3::read().0.start_address().as_u64()
    );
    walk(registers.rbp);
    exit(HYPERVISOR_FAULT)
}

/// Prints the return addresses that the frame pointers lead to, as far as they look like the kernel's.
fn walk(mut frame: u64) {
    for _ in 0..DEPTH {
        if frame < KERNEL_BASE || !frame.is_multiple_of(8) {
            return;
        }
        let pointer: *const [u64; 2] = core::ptr::with_exposed_provenance(frame as usize);
        // SAFETY: an aligned address in the kernel's image, or the double fault that follows ends the machine as well.
        let [above, address] = unsafe { pointer.read_volatile() };
        log!("  called from {address:#x}");
        if above <= frame {
            return;
        }
        frame = above;
    }
}
