//! The local APIC's registers (Intel SDM vol. 3 chapter 11), in one array by number: offset / 16, or MSR - 0x800.

use crate::State;
use crate::vectors::{LEVEL, PENDING, SERVED};

/// Numbers.
pub(crate) mod number {
    pub(crate) const ID: u8 = 0x02;
    pub(crate) const VERSION: u8 = 0x03;
    pub(crate) const TPR: u8 = 0x08;
    pub(crate) const APR: u8 = 0x09;
    pub(crate) const PPR: u8 = 0x0a;
    pub(crate) const EOI: u8 = 0x0b;
    pub(crate) const RRD: u8 = 0x0c;
    pub(crate) const LDR: u8 = 0x0d;
    pub(crate) const DFR: u8 = 0x0e;
    pub(crate) const SVR: u8 = 0x0f;
    pub(crate) const ISR: u8 = 0x10;
    pub(crate) const TMR: u8 = 0x18;
    pub(crate) const IRR: u8 = 0x20;
    pub(crate) const ESR: u8 = 0x28;
    pub(crate) const ICR: u8 = 0x30;
    pub(crate) const ICR_HIGH: u8 = 0x31;
    pub(crate) const LVT_TIMER: u8 = 0x32;
    pub(crate) const LVT_LINT0: u8 = 0x35;
    pub(crate) const LVT_LINT1: u8 = 0x36;
    pub(crate) const LVT_ERROR: u8 = 0x37;
    pub(crate) const INITIAL_COUNT: u8 = 0x38;
    pub(crate) const CURRENT_COUNT: u8 = 0x39;
    pub(crate) const DIVIDE: u8 = 0x3e;
    pub(crate) const SELF_IPI: u8 = 0x3f;
}
use number as n;

/// ESR.
pub(crate) const SENT_ILLEGAL_VECTOR: u8 = 1 << 5;
const RECEIVED_ILLEGAL_VECTOR: u8 = 1 << 6;
pub(crate) const ILLEGAL_REGISTER: u8 = 1 << 7;

/// Version of an integrated APIC, and its highest LVT entry.
const VERSION: u32 = 0x14 | 5 << 16;
/// LVT and redirection entries: masked.
const MASKED: u32 = 1 << 16;
/// LVT entries' bits that can be written, from the timer's on; as MSRs they take what is read-only, too.
const LVT_BITS: [u32; 6] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
/// Delivery modes.
const FIXED: u32 = 0;
const NMI: u32 = 4;
const EXTERNAL: u32 = 7;

/// An interrupt on its way to the local APIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Vector, and delivery mode above it, as redirection entries and ICR have them.
    pub(crate) command: u32,
    /// Level-triggered.
    pub(crate) level: bool,
    /// Whom it is for; `None` for everybody.
    pub(crate) to: Option<u32>,
}

impl State {
    pub(crate) fn register(&self, number: u8) -> u32 {
        self.registers[usize::from(number & 63)]
    }

    pub(crate) fn set_register(&mut self, number: u8, value: u32) {
        self.registers[usize::from(number & 63)] = value;
    }

    /// The task priority's class.
    pub(crate) fn class(&self) -> u8 {
        (self.register(n::TPR) >> 4) as u8 & 15
    }

    /// The class may have been changed through CR8.
    pub(crate) fn see_priority(&mut self, class: u8) {
        if self.class() != class {
            self.set_register(n::TPR, u32::from(class) << 4);
        }
    }

    /// Whether the 8259s come through LINT0. An APIC that is off leaves the pin to them.
    pub(crate) fn through_lint0(&self) -> bool {
        let entry = self.register(n::LVT_LINT0);
        !self.is_enabled() || entry & MASKED == 0 && entry >> 8 & 7 == EXTERNAL
    }

    /// LINT0 as an input: an edge.
    pub(crate) fn lint0(&mut self) {
        let entry = self.register(n::LVT_LINT0);
        if entry & MASKED == 0 && self.is_enabled() {
            match entry >> 8 & 7 {
                FIXED => self.receive(entry as u8, false),
                NMI => self.nmi = 1,
                _ => {}
            }
        }
    }

    /// A vector comes.
    pub(crate) fn receive(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            self.error(RECEIVED_ILLEGAL_VECTOR);
        } else {
            self.vectors.request(vector, level);
        }
    }

    /// Something was wrong; the first time since ESR was written it interrupts.
    pub(crate) fn error(&mut self, error: u8) {
        let entry = self.register(n::LVT_ERROR);
        if self.errors & error == 0 && entry & MASKED == 0 && entry as u8 >= 16 {
            self.vectors.request(entry as u8, false);
        }
        self.errors |= error;
    }

    /// Whether a message is for this APIC (SDM vol. 3 §11.6.2).
    fn is_for_me(&self, message: &Message) -> bool {
        let Some(to) = message.to else { return true };
        let ldr = self.register(n::LDR);
        if message.command & 1 << 11 == 0 {
            to == 0
        } else if self.is_x2apic() {
            to >> 16 == ldr >> 16 && to & ldr & 0xffff != 0
        } else if self.register(n::DFR) >> 28 == 15 {
            ldr >> 24 & to != 0
        } else {
            ldr >> 28 == to >> 4 && ldr >> 24 & to & 15 != 0
        }
    }

    /// Whether this APIC takes a message.
    pub(crate) fn takes(&self, message: &Message) -> bool {
        let listens = match message.command >> 8 & 7 {
            0 | 1 => self.is_software_enabled(),
            NMI | EXTERNAL => self.is_enabled(),
            _ => false,
        };
        listens && self.is_for_me(message)
    }

    /// A message comes; whether it is taken.
    pub(crate) fn deliver(&mut self, message: &Message) -> bool {
        let taken = self.takes(message);
        if taken {
            match message.command >> 8 & 7 {
                0 | 1 => self.receive(message.command as u8, message.level),
                NMI => self.nmi = 1,
                // The 8259s are asked for their vector when the CPU can take it.
                _ => {}
            }
        }
        taken
    }

    /// Sends what ICR says.
    fn send(&mut self) {
        let (command, high) = (self.register(n::ICR), self.register(n::ICR_HIGH));
        let (to, all) = if self.is_x2apic() {
            (high, u32::MAX)
        } else {
            (high >> 24, 0xff)
        };
        let shorthand = command >> 18 & 3;
        let message = Message {
            command,
            level: false,
            to: (shorthand == 0 && to != all).then_some(to),
        };
        if command >> 8 & 7 < 2 && command & 0xff < 16 {
            self.error(SENT_ILLEGAL_VECTOR);
        } else if shorthand != 3 {
            // There is nobody else: "all but self" is none.
            self.deliver(&message);
        }
    }

    /// The CPU has finished a service; the I/O APIC hears of a level's.
    fn end(&mut self) {
        let (vector, level) = self.vectors.end();
        if level && vector != 0 {
            self.ended(vector);
        }
    }

    /// A register's value; `None` if there is none that can be read.
    pub(crate) fn read(&self, number: u8, now: u64) -> Option<u32> {
        let x2apic = self.is_x2apic();
        Some(match number {
            n::VERSION => VERSION,
            n::APR | n::RRD | n::EOI if !x2apic => 0,
            n::PPR => {
                let (task, service) = (
                    self.register(n::TPR),
                    u32::from(self.vectors.highest(SERVED)),
                );
                if task >> 4 >= service >> 4 {
                    task
                } else {
                    service & 0xf0
                }
            }
            n::DFR | n::ICR_HIGH if x2apic => return None,
            n::ISR..n::TMR => self.vectors.register(SERVED, number - n::ISR),
            n::TMR..n::IRR => self.vectors.register(LEVEL, number - n::TMR),
            n::IRR..n::ESR => self.vectors.register(PENDING, number - n::IRR),
            n::CURRENT_COUNT => self.current_count(now),
            n::ID
            | n::TPR
            | n::LDR
            | n::DFR
            | n::SVR
            | n::ESR
            | n::ICR..=n::INITIAL_COUNT
            | n::DIVIDE => self.register(number),
            _ => return None,
        })
    }

    /// Writes a register; `None` if there is none. What is read-only stays as it is.
    pub(crate) fn write(&mut self, number: u8, value: u32, now: u64) -> Option<()> {
        match number {
            n::TPR => self.set_register(n::TPR, value & 0xff),
            n::EOI => self.end(),
            n::LDR if !self.is_x2apic() => self.set_register(n::LDR, value & 0xff00_0000),
            n::DFR if !self.is_x2apic() => self.set_register(n::DFR, value | 0x0fff_ffff),
            n::SVR => {
                self.set_register(n::SVR, value & 0x3ff);
                if value & 1 << 8 == 0 {
                    self.registers[usize::from(n::LVT_TIMER)..=usize::from(n::LVT_ERROR)]
                        .iter_mut()
                        .for_each(|entry| *entry |= MASKED);
                }
            }
            n::ESR => {
                let errors = core::mem::take(&mut self.errors);
                self.set_register(n::ESR, errors.into());
            }
            n::ICR => {
                self.set_register(n::ICR, value & !(1 << 12));
                self.send();
            }
            n::ICR_HIGH if !self.is_x2apic() => self.set_register(n::ICR_HIGH, value),
            n::LVT_TIMER..=n::LVT_ERROR => {
                let masked = if self.register(n::SVR) & 1 << 8 == 0 {
                    MASKED
                } else {
                    0
                };
                let entry = value & LVT_BITS[usize::from(number - n::LVT_TIMER)] | masked;
                if number == n::LVT_TIMER {
                    self.set_lvt_timer(entry)
                } else {
                    self.set_register(number, entry)
                }
            }
            n::INITIAL_COUNT => self.set_initial_count(value, now),
            n::DIVIDE => self.set_divide(value, now),
            _ => {
                self.read(number, now)?;
            }
        }
        Some(())
    }

    /// RDMSR; `None` is a #GP.
    pub(crate) fn read_msr(&self, number: u8, now: u64) -> Option<u64> {
        let value = if self.is_x2apic() {
            self.read(number, now)?
        } else {
            return None;
        };
        let high = if number == n::ICR {
            self.register(n::ICR_HIGH)
        } else {
            0
        };
        Some(u64::from(high) << 32 | u64::from(value))
    }

    /// WRMSR; `None` is a #GP, which reserved bits are here, too (SDM vol. 3, table 11-6).
    pub(crate) fn write_msr(&mut self, number: u8, value: u64, now: u64) -> Option<()> {
        let writable = match number {
            n::EOI | n::ESR => 0,
            n::TPR | n::SELF_IPI => 0xff,
            n::SVR => 0x3ff,
            n::ICR => 0xffff_ffff_000c_dfff,
            n::LVT_LINT0 | n::LVT_LINT1 => 0x1_f7ff,
            lvt if (n::LVT_TIMER..=n::LVT_ERROR).contains(&lvt) => {
                u64::from(LVT_BITS[usize::from(lvt - n::LVT_TIMER)]) | 1 << 12
            }
            n::INITIAL_COUNT => u32::MAX.into(),
            n::DIVIDE => 0x0b,
            _ => return None,
        };
        if !self.is_x2apic() || value & !writable != 0 {
            return None;
        }
        match number {
            n::SELF_IPI if !self.is_software_enabled() => Some(()),
            n::SELF_IPI => {
                self.receive(value as u8, false);
                Some(())
            }
            _ => {
                if number == n::ICR {
                    self.set_register(n::ICR_HIGH, (value >> 32) as u32);
                }
                self.write(number, value as u32, now)
            }
        }
    }
}
