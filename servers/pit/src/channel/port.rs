//! How the CPU reads and writes a counter: control word, bytes of a count, latches, status (data sheet, "programming the 8254").

use super::{Channel, IDLE};

impl Channel {
    /// The part of a control word that is for this counter: bits 5 and 4 how it is accessed, 3 to 1 the mode, 0 BCD.
    pub fn control(&mut self, word: u8, now: u64) {
        let access = word >> 4 & 3;
        if access == 0 {
            self.latch_count(now);
            return;
        }
        self.access = access;
        (
            self.half_written,
            self.half_read,
            self.latched,
            self.status_latched,
        ) = (0, 0, 0, 0);
        self.program(word >> 1 & 7, word & 1 != 0);
    }

    /// Latches the count until it is read; a second latch before that is ignored.
    pub fn latch_count(&mut self, now: u64) {
        if self.latched == 0 {
            self.catch_up(now);
            self.latch = self.shown(now);
            self.latched = if self.access == 3 { 2 } else { 1 };
        }
    }

    /// Latches the status until it is read.
    pub fn latch_status(&mut self, now: u64) {
        if self.status_latched == 0 {
            self.catch_up(now);
            self.status_latched = 1;
            self.status = u8::from(self.output(now)) << 7
                | u8::from(self.null_count(now)) << 6
                | self.access << 4
                | self.mode << 1
                | self.bcd;
        }
    }

    /// The count as the CPU sees it.
    fn shown(&self, now: u64) -> u16 {
        let value = self.value(now);
        (if self.bcd != 0 { decimal(value) } else { value }) as u16
    }

    /// A read of the counter's port.
    pub fn read(&mut self, now: u64) -> u8 {
        if self.status_latched != 0 {
            self.status_latched = 0;
            return self.status;
        }
        if self.latched != 0 {
            self.latched -= 1;
            let high = self.access == 2 || self.access == 3 && self.latched == 0;
            return (self.latch >> if high { 8 } else { 0 }) as u8;
        }
        self.catch_up(now);
        let high = match self.access {
            3 => {
                self.half_read ^= 1;
                self.half_read == 0
            }
            access => access == 2,
        };
        (self.shown(now) >> if high { 8 } else { 0 }) as u8
    }

    /// A write to the counter's port. In mode 0 the first of two bytes stops the count.
    pub fn write(&mut self, value: u8, now: u64) {
        let count = match self.access {
            1 => u16::from(value),
            2 => u16::from(value) << 8,
            _ if self.half_written == 0 => {
                (self.half_written, self.low) = (1, value);
                if self.mode == 0 {
                    self.state = IDLE;
                }
                return;
            }
            _ => {
                self.half_written = 0;
                u16::from_le_bytes([self.low, value])
            }
        };
        self.load(
            if self.bcd != 0 {
                binary(count)
            } else {
                u32::from(count)
            },
            now,
        );
    }
}

/// Four decimal digits of a number.
fn decimal(value: u32) -> u32 {
    (value % 10)
        | ((value / 10 % 10) << 4)
        | ((value / 100 % 10) << 8)
        | ((value / 1000 % 10) << 12)
}

/// The number of four decimal digits; digits above nine count what they are worth.
fn binary(digits: u16) -> u32 {
    let digit = |shift: u16| u32::from(digits >> shift & 15);
    (digit(0) + 10 * digit(4) + 100 * digit(8) + 1000 * digit(12)) % 10_000
}
