//! Ending the machine by ACPI, at the address where both QEMU's firmware and Atoll have PM1a control.

use x86_64::instructions::hlt;
use x86_64::instructions::port::Port;

/// PM1a control (ACPI 6.5, 4.8.3.2.1).
const PM1A_CONTROL: u16 = 0x604;
/// SLP_EN, with the sleep type 0 that means "off" on both.
const SLEEP_ENABLE: u16 = 1 << 13;

/// Powers off.
pub fn off() -> ! {
    let mut control = Port::<u16>::new(PM1A_CONTROL);
    // SAFETY: the write ends the machine; memory is no longer of interest.
    unsafe { control.write(SLEEP_ENABLE) };
    loop {
        hlt();
    }
}
