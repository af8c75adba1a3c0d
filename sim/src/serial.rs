//! The host's serial ports.

use std::collections::VecDeque;

/// A 16550, as far as a driver's mistakes would show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uart {
    divisor_latch: bool,
    /// Bytes on their way in.
    pub input: VecDeque<u8>,
    /// Bytes that went out.
    pub output: Vec<u8>,
}

impl Uart {
    pub(crate) fn read(&mut self, register: u16) -> u32 {
        match register {
            0 if !self.divisor_latch => self.input.pop_front().map_or(0, u32::from),
            5 => 0x60 | u32::from(!self.input.is_empty()),
            _ => 0,
        }
    }

    pub(crate) fn write(&mut self, register: u16, value: u32) {
        match register {
            0 if !self.divisor_latch => self.output.push(value as u8),
            2 if value & 2 != 0 => self.input.clear(),
            3 => self.divisor_latch = value & 0x80 != 0,
            _ => {}
        }
    }
}
