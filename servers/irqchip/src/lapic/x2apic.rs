//! The registers as MSRs 0x800 to 0x8ff (Intel SDM vol. 3 §11.12.1): what is #GP there is silently ignored in memory.

use super::Lapic;
use super::registers::{Written, number as n};

/// The first MSR.
pub const FIRST_MSR: u32 = 0x800;
/// The last one that the architecture reserves.
pub const LAST_MSR: u32 = 0x8ff;

/// The bits of a register that may be written; `None` if it cannot be written at all.
fn writable(register: u8) -> Option<u64> {
    Some(match register {
        n::TPR => 0xff,
        n::EOI | n::ESR => 0,
        n::SVR => 0x3ff,
        n::ICR => 0xffff_ffff_000c_dfff,
        n::LVT_TIMER => 0x0007_10ff,
        n::LVT_THERMAL | n::LVT_PERFORMANCE => 0x0001_17ff,
        n::LVT_LINT0 | n::LVT_LINT1 => 0x0001_f7ff,
        n::LVT_ERROR => 0x0001_10ff,
        n::INITIAL_COUNT => 0xffff_ffff,
        n::DIVIDE => 0x0b,
        n::SELF_IPI => 0xff,
        _ => return None,
    })
}

impl Lapic {
    /// RDMSR; `None` is a #GP.
    #[must_use]
    pub fn read_msr(&self, msr: u32, now: u64, tsc_khz: u64) -> Option<u64> {
        if !self.registers.extended() {
            return None;
        }
        let register = u8::try_from(msr.wrapping_sub(FIRST_MSR)).ok()?;
        if register == n::ICR {
            return Some(self.registers.icr);
        }
        self.read(register, now, tsc_khz).map(u64::from)
    }

    /// WRMSR; `None` is a #GP.
    pub fn write_msr(&mut self, msr: u32, value: u64, now: u64, tsc_khz: u64) -> Option<Written> {
        if !self.registers.extended() {
            return None;
        }
        let register = u8::try_from(msr.wrapping_sub(FIRST_MSR)).ok()?;
        if value & !writable(register)? != 0 {
            return None;
        }
        match register {
            n::SELF_IPI => {
                if self.registers.software_enabled() {
                    self.receive(value as u8, false);
                }
                Some(Written::Nothing)
            }
            n::ICR => {
                self.registers.icr = value;
                self.write(n::ICR, value as u32, now, tsc_khz)
            }
            _ => self.write(register, value as u32, now, tsc_khz),
        }
    }
}
