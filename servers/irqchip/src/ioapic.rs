//! The I/O APIC: 24 pins, each with a redirection entry (Intel 82093AA data sheet), with the EOI register of version 0x20.
//!
//! A pin's level is "asserted or not": the polarity bit is kept for the guest but turns nothing around, because a line of the machine has
//! no voltage.

use atoll_protocol::interchange::IoapicState;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::interrupt::{Interrupt, Mode};

/// Number of pins.
pub const PINS: usize = 24;
/// The pin that the 8259s' output is wired to.
pub const EXTERNAL_PIN: u8 = 0;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const END_OF_INTERRUPT: u64 = 0x40;
/// Version 0x20 (it has the EOI register), highest pin in bits 16 to 23.
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Delivery status and remote IRR are the chip's own.
const READ_ONLY: u64 = 1 << 12 | REMOTE_IRR;
const WRITABLE: u64 = 0xff00_0000_0001_ffff & !READ_ONLY;

/// The I/O APIC. Four vault lines.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ioapic {
    entries: [u64; PINS],
    /// Levels of the pins.
    lines: u32,
    /// IOREGSEL.
    select: u32,
    /// Bits 24 to 27: the identification, which nothing but the guest uses.
    id: u32,
    reserved: [u32; 13],
}

/// What a store asks of the rest of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Nothing,
    /// A pin's entry changed: look whether it delivers now.
    Entry(u8),
    /// An end of interrupt for this vector.
    End(u8),
}

impl Ioapic {
    /// As after reset: everything masked.
    #[must_use]
    pub fn new() -> Ioapic {
        Ioapic {
            entries: [MASKED; PINS],
            lines: 0,
            select: 0,
            id: 0,
            reserved: [0; 13],
        }
    }

    /// What another must know of it to go on.
    pub(crate) fn export(&self) -> IoapicState {
        IoapicState {
            entries: self.entries,
            lines: self.lines,
            select: self.select as u8,
            id: self.id,
        }
    }

    /// The I/O APIC that goes on from there.
    pub(crate) fn import(before: &IoapicState) -> Ioapic {
        let IoapicState {
            entries,
            lines,
            select,
            id,
        } = *before;
        Ioapic {
            entries: entries.map(|entry| entry & (WRITABLE | REMOTE_IRR)),
            lines,
            select: select.into(),
            id,
            ..Ioapic::new()
        }
    }

    fn entry(&self, pin: u8) -> u64 {
        self.entries
            .get(usize::from(pin))
            .copied()
            .unwrap_or(MASKED)
    }

    /// A pin changes; what it sends, if it does. An edge on a masked pin is lost (data sheet, "interrupt mask").
    pub fn line(&mut self, pin: u8, level: bool, rose: bool) -> Option<Interrupt> {
        let bit = 1_u32.checked_shl(u32::from(pin)).unwrap_or(0);
        self.lines = if level {
            self.lines | bit
        } else {
            self.lines & !bit
        };
        let entry = self.entry(pin);
        if entry & LEVEL != 0 {
            ((level || rose) && entry & (MASKED | REMOTE_IRR) == 0).then(|| interrupt(entry))
        } else {
            (rose && entry & MASKED == 0).then(|| interrupt(entry))
        }
    }

    /// What a pin sends because of its level alone: after a change of its entry, and after an end of interrupt.
    #[must_use]
    pub fn standing(&self, pin: u8) -> Option<Interrupt> {
        let entry = self.entry(pin);
        let high = self.lines.checked_shr(u32::from(pin)).unwrap_or(0) & 1 != 0;
        (high && entry & (LEVEL | MASKED | REMOTE_IRR) == LEVEL).then(|| interrupt(entry))
    }

    /// A local APIC has taken the pin's interrupt: a level-triggered one now waits for its end.
    pub fn taken(&mut self, pin: u8) {
        if let Some(entry) = self.entries.get_mut(usize::from(pin))
            && *entry & LEVEL != 0
        {
            *entry |= REMOTE_IRR;
        }
    }

    /// Whether the pin waits for the end of this vector.
    #[must_use]
    pub fn awaits(&self, pin: u8, vector: u8) -> bool {
        let entry = self.entry(pin);
        entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR && entry as u8 == vector
    }

    /// The end that the pin waited for has come.
    pub fn ended(&mut self, pin: u8) {
        if let Some(entry) = self.entries.get_mut(usize::from(pin)) {
            *entry &= !REMOTE_IRR;
        }
    }

    /// How the 8259s' output leaves through [`EXTERNAL_PIN`], if it does.
    #[must_use]
    pub fn external(&self) -> Option<Interrupt> {
        let entry = self.entry(EXTERNAL_PIN);
        let interrupt = interrupt(entry);
        (entry & MASKED == 0 && interrupt.mode == Mode::External).then_some(interrupt)
    }

    /// Loads from `offset`.
    #[must_use]
    pub fn load(&self, offset: u64) -> u32 {
        match offset {
            SELECT => self.select,
            WINDOW => match self.select {
                0 | 2 => self.id,
                1 => VERSION,
                select => {
                    let Some((pin, shift)) = half(select) else {
                        return u32::MAX;
                    };
                    (self.entry(pin) >> shift) as u32
                }
            },
            _ => u32::MAX,
        }
    }

    /// Stores to `offset`.
    pub fn store(&mut self, offset: u64, value: u32) -> Stored {
        match offset {
            SELECT => self.select = value & 0xff,
            WINDOW if self.select == 0 => self.id = value & 0x0f00_0000,
            WINDOW => {
                let Some((pin, shift)) = half(self.select) else {
                    return Stored::Nothing;
                };
                let Some(entry) = self.entries.get_mut(usize::from(pin)) else {
                    return Stored::Nothing;
                };
                let writable = WRITABLE & (0xffff_ffff << shift);
                *entry = *entry & !writable | u64::from(value) << shift & writable;
                if *entry & LEVEL == 0 {
                    // Older systems end a stuck level-triggered interrupt by making the pin edge-triggered for a moment.
                    *entry &= !REMOTE_IRR;
                }
                return Stored::Entry(pin);
            }
            END_OF_INTERRUPT => return Stored::End(value as u8),
            _ => {}
        }
        Stored::Nothing
    }
}

impl Default for Ioapic {
    fn default() -> Self {
        Ioapic::new()
    }
}

/// The pin and the bit shift that a register index of 0x10 and up names.
fn half(select: u32) -> Option<(u8, u32)> {
    let index = select.checked_sub(0x10)?;
    (index < 2 * PINS as u32).then_some(((index / 2) as u8, index % 2 * 32))
}

fn interrupt(entry: u64) -> Interrupt {
    Interrupt {
        vector: entry as u8,
        mode: Mode::of((entry >> 8) as u32),
        level: entry & LEVEL != 0,
        logical: entry & LOGICAL != 0,
        destination: (entry >> 56) as u32,
        broadcast: entry >> 56 == 0xff,
    }
}
