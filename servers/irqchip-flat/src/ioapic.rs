//! The I/O APIC (Intel 82093AA data sheet, with the EOI register of version 0x20).

use crate::State;
use crate::lapic::Message;

/// Pins.
pub(crate) const PINS: usize = 24;
/// Entry: masked.
pub(crate) const MASKED: u64 = 1 << 16;
/// Entry: level-triggered.
const LEVEL: u64 = 1 << 15;
/// Entry: an interrupt of a level is being served.
const REMOTE_IRR: u64 = 1 << 14;
/// Bits of an entry's halves that can be written: all but delivery status and remote IRR below; the destination above.
const WRITABLE: [u32; 2] = [0x1_afff, 0xff00_0000];
/// Version 0x20, and the highest pin.
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;
/// Where the 8259s come in.
const PICS: usize = 0;

/// What an entry sends.
fn message(entry: u64) -> Message {
    let to = (entry >> 56) as u32;
    Message {
        command: entry as u32,
        level: entry & LEVEL != 0,
        to: (to != 0xff).then_some(to),
    }
}

impl State {
    /// A pin changes. A masked pin forgets edges, and remembers levels.
    pub(crate) fn pin(&mut self, pin: u8, level: bool, rose: bool) {
        let bit = 1_u32.checked_shl(pin.into()).unwrap_or(0);
        self.lines = self.lines & !bit | if level { bit } else { 0 };
        let entry = self.pins.get(usize::from(pin)).copied().unwrap_or(MASKED);
        let asks = if entry & LEVEL != 0 {
            (level || rose) && entry & REMOTE_IRR == 0
        } else {
            rose
        };
        if asks && entry & MASKED == 0 {
            self.send_entry(pin.into());
        }
    }

    /// Sends a pin's message. If it is a level's, the pin then waits for the end of its service.
    fn send_entry(&mut self, pin: usize) {
        if self.deliver(&message(self.pins[pin])) && self.pins[pin] & LEVEL != 0 {
            self.pins[pin] |= REMOTE_IRR;
        }
    }

    /// Something other than its line has changed about a pin.
    fn changed(&mut self, pin: usize) {
        if self.lines >> pin & 1 != 0 && self.pins[pin] & (LEVEL | MASKED | REMOTE_IRR) == LEVEL {
            self.send_entry(pin);
        }
        if pin == PICS {
            self.look_through();
        }
    }

    /// Looks whether the 8259s come through.
    pub(crate) fn look_through(&mut self) {
        let entry = self.pins[PICS];
        let external = entry & MASKED == 0 && entry >> 8 & 7 == 7;
        self.through_ioapic = (external && self.takes(&message(entry))).into();
    }

    /// The service of a vector has ended.
    pub(crate) fn ended(&mut self, vector: u8) {
        for pin in 0..PINS {
            let waits = self.pins[pin] & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR;
            if waits && self.pins[pin] as u8 == vector {
                self.pins[pin] &= !REMOTE_IRR;
                self.changed(pin);
            }
        }
    }

    /// The pin and the half of its entry that IOREGSEL names.
    fn selected(&self) -> Option<(usize, usize)> {
        let index = self.select.checked_sub(0x10)? as usize;
        (index / 2 < PINS).then_some((index / 2, index % 2))
    }

    /// A load from the I/O APIC's page.
    pub(crate) fn load_ioapic(&self, offset: u64) -> u32 {
        match (offset, self.select) {
            (0x00, select) => select,
            (0x10, 0 | 2) => self.ioapic_id,
            (0x10, 1) => VERSION,
            (0x10, _) => self.selected().map_or(u32::MAX, |(pin, half)| {
                (self.pins[pin] >> (32 * half)) as u32
            }),
            _ => u32::MAX,
        }
    }

    /// A store to the I/O APIC's page.
    pub(crate) fn store_ioapic(&mut self, offset: u64, value: u32) {
        match (offset, self.selected()) {
            (0x00, _) => self.select = value & 0xff,
            (0x10, Some((pin, half))) => {
                let writable = u64::from(WRITABLE[half]) << (32 * half);
                let entry = self.pins[pin] & !writable | u64::from(value) << (32 * half) & writable;
                // An entry that becomes edge-triggered waits for nothing any more.
                self.pins[pin] = if entry & LEVEL == 0 {
                    entry & !REMOTE_IRR
                } else {
                    entry
                };
                self.changed(pin);
            }
            (0x10, None) if self.select == 0 => self.ioapic_id = value & 0x0f00_0000,
            (0x40, _) => self.ended(value as u8),
            _ => {}
        }
    }
}
