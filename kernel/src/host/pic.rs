//! The two 8259 interrupt controllers of the host: the lines of the devices that Atoll drives.
//!
//! All lines are masked until someone is granted one; a line that fired is masked again until its driver has committed. Intel 8259A
//! data sheet.

use super::port;

/// Vector of IRQ 0.
pub(crate) const FIRST_VECTOR: u8 = 0x20;
/// Lines of both.
pub(crate) const LINES: u8 = 16;

const COMMAND: [u16; 2] = [0x20, 0xa0];
const DATA: [u16; 2] = [0x21, 0xa1];
/// The line of the first that the second hangs on.
const CASCADE: u8 = 2;
/// ICW4: 8086 mode, and an interrupt ends when the processor takes it: its line is masked then. (A second chip from before 1985 cannot.)
const ENDS_ITSELF: u8 = 0x03;

/// Puts the lines at [`FIRST_VECTOR`] and masks them.
pub(crate) fn start() {
    let layout = [(FIRST_VECTOR, 1 << CASCADE), (FIRST_VECTOR + 8, CASCADE)];
    for (chip, (vector, cascade)) in layout.into_iter().enumerate() {
        port::write::<u8>(COMMAND[chip], 0x11); // ICW1: edge, cascade, ICW4 follows
        port::write::<u8>(DATA[chip], vector);
        port::write::<u8>(DATA[chip], cascade);
        port::write::<u8>(DATA[chip], ENDS_ITSELF);
        port::write::<u8>(DATA[chip], if chip == 0 { !(1 << CASCADE) } else { 0xff });
    }
}

/// The chip of a line and its bit there.
const fn place(irq: u8) -> (usize, u8) {
    ((irq >> 3 & 1) as usize, 1 << (irq & 7))
}

/// Lets a line interrupt.
pub(crate) fn unmask(irq: u8) {
    let (chip, bit) = place(irq);
    port::write::<u8>(DATA[chip], port::read::<u8>(DATA[chip]) & !bit);
}

/// Takes an interrupt: masks the line. False if it was spurious: nothing interrupts on a line that is masked.
pub(crate) fn acknowledge(irq: u8) -> bool {
    let (chip, bit) = place(irq);
    let masked = port::read::<u8>(DATA[chip]);
    port::write::<u8>(DATA[chip], masked | bit);
    masked & bit == 0
}
