//! The serial port looped back: what is sent is what is received, in order, up to sixteen bytes. That shows how often and in which order
//! a port was accessed.

use atoll_guests::apic::{inb, out};

/// Data.
pub(crate) const DATA: u16 = 0x3f8;
const FIFO_CONTROL: u16 = 0x3fa;
const MODEM_CONTROL: u16 = 0x3fc;
const LINE_STATUS: u16 = 0x3fd;
const LOOP: u8 = 1 << 4;
const RECEIVED: u8 = 1;

/// Does something while the port is looped back, and empty when it begins. Nothing can be printed meanwhile.
pub(crate) fn looped<T>(inside: impl FnOnce() -> T) -> T {
    out(FIFO_CONTROL, 7);
    out(MODEM_CONTROL, LOOP);
    let result = inside();
    out(MODEM_CONTROL, 3);
    out(FIFO_CONTROL, 7);
    result
}

/// Sends bytes.
pub(crate) fn send(bytes: &[u8]) {
    bytes.iter().for_each(|byte| out(DATA, *byte));
}

/// What was received, as a number with the first byte lowest, and how many bytes it is.
pub(crate) fn received() -> (u128, u32) {
    let mut all = 0;
    for count in 0..16 {
        if inb(LINE_STATUS) & RECEIVED == 0 {
            return (all, count);
        }
        all |= u128::from(inb(DATA)) << (8 * count);
    }
    (all, 16)
}
