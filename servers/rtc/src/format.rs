//! How the registers show numbers: BCD or binary, 24 or 12 hours (MC146818 data sheet, "Time, calendar and alarm locations").

use crate::state::{BINARY, HOURS_24};

/// A 12-hour clock's mark of the afternoon.
const AFTERNOON: u8 = 0x80;

/// Register B's format bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    /// As register B says.
    pub(crate) fn of(b: u8) -> Format {
        Format {
            binary: b & BINARY != 0,
            hours_24: b & HOURS_24 != 0,
        }
    }

    /// A number below 100 as a register shows it.
    pub(crate) fn show(self, number: u64) -> u8 {
        let number = (number % 100) as u8;
        if self.binary {
            number
        } else {
            number / 10 * 16 + number % 10
        }
    }

    /// What a register means.
    pub(crate) fn read(self, register: u8) -> u64 {
        u64::from(if self.binary {
            register
        } else {
            (register >> 4) * 10 + (register & 0x0f)
        })
    }

    /// An hour of 0 to 23 as the register shows it: on a 12-hour clock midnight and noon are 12.
    pub(crate) fn show_hour(self, hour: u64) -> u8 {
        if self.hours_24 {
            return self.show(hour);
        }
        let on_dial = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        self.show(on_dial) | if hour >= 12 { AFTERNOON } else { 0 }
    }

    /// Which hour a register means.
    pub(crate) fn read_hour(self, register: u8) -> u64 {
        if self.hours_24 {
            return self.read(register);
        }
        let on_dial = self.read(register & !AFTERNOON) % 12;
        on_dial + if register & AFTERNOON != 0 { 12 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hour_and_number_comes_back_in_each_format() {
        for b in [0, BINARY, HOURS_24, BINARY | HOURS_24] {
            let format = Format::of(b);
            assert!((0..24).all(|hour| format.read_hour(format.show_hour(hour)) == hour));
            assert!((0..100).all(|number| format.read(format.show(number)) == number));
        }
        assert_eq!(Format::of(0).show_hour(0), 0x12);
        assert_eq!(Format::of(0).show_hour(12), 0x92);
        assert_eq!(Format::of(0).show_hour(23), 0x91);
    }
}
