//! The clock's state: how time runs in one line of the vault, the 128 bytes of CMOS RAM in two more.

use atoll_protocol::units::Ticks;
use atoll_sdk::Clock;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::calendar::Date;
use crate::format::Format;

/// Register A: update in progress; read-only.
pub(crate) const UPDATING: u8 = 0x80;
/// Register A: the divider is held in reset (both upper bits of DV).
pub(crate) const DIVIDER_RESET: u8 = 0x60;
/// Register B: the guest sets the time; it does not advance.
pub(crate) const SET: u8 = 0x80;
/// Registers B and C: periodic interrupt.
pub(crate) const PERIODIC: u8 = 0x40;
/// Registers B and C: alarm interrupt.
pub(crate) const ALARM: u8 = 0x20;
/// Registers B and C: update-ended interrupt.
pub(crate) const UPDATE: u8 = 0x10;
/// Register B: binary instead of BCD.
pub(crate) const BINARY: u8 = 0x04;
/// Register B: 24 hours instead of 12.
pub(crate) const HOURS_24: u8 = 0x02;
/// Register C: an enabled interrupt is pending.
pub(crate) const PENDING: u8 = 0x80;
/// Register D: the battery is good; all that is in it.
pub(crate) const VALID: u8 = 0x80;

/// How long before an update "update in progress" shows: 244 us (data sheet, table 6).
const UPDATE_NANOSECONDS: u64 = 244_000;

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RtcState {
    pub(crate) run: Run,
    /// CMOS RAM. Locations of the time count only while it is held.
    pub(crate) ram: [u8; 128],
}

/// How time runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Run {
    /// The clock showed this many seconds since 1970...
    pub(crate) zero_seconds: u64,
    /// ...at this time, when a second began.
    pub(crate) zero: u64,
    /// Until when `flags` is up to date.
    pub(crate) seen: u64,
    /// What the two timers are armed for; 0 if not.
    pub(crate) armed: [u64; 2],
    /// The counter's frequency.
    pub(crate) clock: Clock,
    /// The location that the data port accesses.
    pub(crate) index: u8,
    /// Register A without "update in progress".
    pub(crate) a: u8,
    /// Register B.
    pub(crate) b: u8,
    /// Register C without "pending".
    pub(crate) flags: u8,
    /// The interrupt's line.
    pub(crate) line: u8,
    /// 1 while it is high.
    pub(crate) raised: u8,
    /// 1 while something that was put off waits for the first timer.
    pub(crate) late: u8,
    /// Not used; zero.
    pub(crate) reserved: [u8; 9],
}

impl Run {
    /// Ticks of a second.
    pub(crate) fn second(&self) -> u64 {
        self.clock.tsc_khz.saturating_mul(1000).max(1)
    }

    /// Whether the time stands still because the guest sets it.
    pub(crate) fn held(&self) -> bool {
        self.b & SET != 0 || self.a & DIVIDER_RESET == DIVIDER_RESET
    }

    /// Seconds since 1970 that the clock shows at `at`.
    pub(crate) fn seconds(&self, at: u64) -> u64 {
        self.zero_seconds
            .saturating_add(at.saturating_sub(self.zero) / self.second())
    }

    /// When the clock comes to show `seconds`.
    pub(crate) fn when(&self, seconds: u64) -> u64 {
        let span = seconds.saturating_sub(self.zero_seconds);
        self.zero.saturating_add(span.saturating_mul(self.second()))
    }

    /// Whether an update is about to begin.
    pub(crate) fn updating(&self, at: u64) -> bool {
        let into = at.saturating_sub(self.zero) % self.second();
        !self.held() && self.second() - into <= self.clock.from_nanoseconds(UPDATE_NANOSECONDS).0
    }

    /// Cycles of the 32,768 Hz time base in one period of the periodic interrupt; `None` if it is off (data sheet, table 5).
    fn period(&self) -> Option<u64> {
        match self.a & 0x0f {
            0 => None,
            select @ (1 | 2) => Some(1 << (select + 6)),
            select => Some(1 << (select - 1)),
        }
    }

    /// How many periods have passed at `at`; 0 if there is no periodic interrupt.
    pub(crate) fn periods(&self, at: u64) -> u64 {
        self.period().map_or(0, |period| {
            self.clock
                .cycles(Ticks(at.saturating_sub(self.zero)), 32_768)
                / period
        })
    }

    /// When the period after `at` begins.
    pub(crate) fn next_period(&self, at: u64) -> Option<u64> {
        let cycles = (self.periods(at) + 1).saturating_mul(self.period()?);
        Some(self.zero.saturating_add(self.clock.span(cycles, 32_768).0))
    }
}

impl RtcState {
    /// A location that shows part of `date`; `None` for all others.
    pub(crate) fn show(&self, location: u8, date: Date) -> Option<u8> {
        let format = Format::of(self.run.b);
        Some(match location {
            0x00 => format.show(date.second),
            0x02 => format.show(date.minute),
            0x04 => format.show_hour(date.hour),
            0x06 => format.show(date.weekday()),
            0x07 => format.show(date.day),
            0x08 => format.show(date.month),
            0x09 => format.show(date.year % 100),
            0x32 => format.show(date.year / 100),
            _ => return None,
        })
    }

    /// The date that the locations hold.
    pub(crate) fn stored(&self) -> Date {
        let format = Format::of(self.run.b);
        let [second, _, minute, _, hour, _, _, day, month, year, ..] = self.ram;
        let century = self.ram[0x32];
        Date {
            year: format.read(century) * 100 + format.read(year),
            month: format.read(month),
            day: format.read(day),
            hour: format.read_hour(hour),
            minute: format.read(minute),
            second: format.read(second),
        }
    }
}
