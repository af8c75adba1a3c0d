//! The registers of power management, in one line of the vault.

use atoll_protocol::units::Ticks;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The PM timer's frequency (ACPI 6.5 §4.8.2.1), three times that of a PC's interval timer.
pub(crate) const HERTZ: u64 = 3_579_545;
/// Bits of the PM timer, as the FADT says with TMR_VAL_EXT = 0.
const BITS: u32 = 24;

/// PM1 status and enable: the timer's top bit has changed.
pub(crate) const TIMER: u16 = 1 << 0;
/// PM1 enable: what can be written (timer, global lock, power button, sleep button, RTC).
pub(crate) const ENABLE_MASK: u16 = 0x0721;
/// PM1 control: events raise the SCI.
pub(crate) const SCI_ENABLE: u16 = 1 << 0;
/// PM1 control: what is kept: SCI_EN, BM_RLD, SLP_TYP.
pub(crate) const CONTROL_MASK: u16 = 0x1c03;
/// PM1 control: SLP_TYP.
pub(crate) const SLEEP_TYPE: u16 = 0x1c00;
/// PM1 control: SLP_EN; write-only.
pub(crate) const SLEEP_ENABLE: u16 = 1 << 13;

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PmState {
    /// PM timer cycles per tick, as a fraction of 2^64.
    pub(crate) rate: u64,
    /// How often the timer's top bit had changed when its status was last cleared.
    pub(crate) seen: u64,
    /// Time-stamp counter's frequency, in kHz.
    pub(crate) tsc_khz: u64,
    /// First port of the PM1a event block.
    pub(crate) base: u16,
    /// PM1 enable.
    pub(crate) enable: u16,
    /// PM1 control.
    pub(crate) control: u16,
    /// The SCI's line.
    pub(crate) line: u8,
    /// 1 while it is high.
    pub(crate) raised: u8,
    /// 0, or what the timer is armed for.
    pub(crate) armed: u8,
    /// The reset control register (port 0xcf9).
    pub(crate) reset_control: u8,
    /// How often the status of the keyboard controller was read, up to a bound.
    pub(crate) keyboard_reads: u8,
    /// Not used; zero.
    pub(crate) reserved: [u8; 5],
    /// Not used; zero.
    pub(crate) rest: [u64; 3],
}

impl PmState {
    /// Cycles of the PM timer since the counter was zero. A multiplication, not a division: guests that distrust the TSC read this
    /// timer all the time. The rate is rounded down by less than 2^-64, which is one cycle in a hundred years.
    #[inline(always)]
    pub(crate) fn cycles(&self, now: Ticks) -> u64 {
        ((u128::from(now.0) * u128::from(self.rate)) >> 64) as u64
    }

    /// The PM timer as it reads.
    #[inline(always)]
    pub(crate) fn timer(&self, now: Ticks) -> u32 {
        (self.cycles(now) as u32) & ((1 << BITS) - 1)
    }

    /// How often the top bit has changed.
    pub(crate) fn changes(&self, now: Ticks) -> u64 {
        self.cycles(now) >> (BITS - 1)
    }

    /// When the top bit changes next.
    pub(crate) fn next_change(&self, now: Ticks) -> Ticks {
        let cycles = (self.changes(now) + 1) << (BITS - 1);
        let ticks = (u128::from(cycles) << 64).div_ceil(u128::from(self.rate.max(1)));
        Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// PM1 status.
    pub(crate) fn status(&self, now: Ticks) -> u16 {
        if self.changes(now) != self.seen {
            TIMER
        } else {
            0
        }
    }

    /// Level of the SCI.
    pub(crate) fn level(&self, now: Ticks) -> u8 {
        u8::from(self.control & SCI_ENABLE != 0 && self.status(now) & self.enable != 0)
    }
}
