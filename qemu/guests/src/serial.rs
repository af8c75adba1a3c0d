//! Printing on COM1 by polling (16550 data sheet: line status bit 5 is "transmitter holding register empty").

use core::fmt;

use x86_64::instructions::port::{Port, PortReadOnly};

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// The first serial port.
#[derive(Debug)]
pub struct Serial;

impl Serial {
    /// Sends one byte.
    pub fn send(byte: u8) {
        let mut status = PortReadOnly::<u8>::new(LINE_STATUS);
        loop {
            // SAFETY: reading the line status has no effect on memory.
            let empty = unsafe { status.read() } & TRANSMITTER_EMPTY != 0;
            if empty {
                break;
            }
        }
        let mut data = Port::<u8>::new(DATA);
        // SAFETY: writing the data register has no effect on memory.
        unsafe { data.write(byte) };
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(Serial::send);
        Ok(())
    }
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::serial::Serial, $($argument)*);
    }};
}
