//! Leaving: QEMU's `isa-debug-exit` device.

use super::port;

/// Where the device is (`iobase=0xf4`).
const PORT: u16 = 0xf4;

/// Code: a fault of the hypervisor's own.
pub(crate) const HYPERVISOR_FAULT: u8 = 20;

/// Ends the machine; QEMU's status is `code << 1 | 1`. Stops the core where there is no such device.
pub(crate) fn exit(code: u8) -> ! {
    port::write::<u32>(PORT, u32::from(code));
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
