//! The local APIC's timer (Intel SDM vol. 3 §11.5.4), which counts cycles of a bus of 1 GHz.
//!
//! Its moments are exact: ticks of the host's counter and millionths of a tick, of which one bus cycle takes as many as the counter has kHz.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::State;
use crate::lapic::number;

const MILLIONTHS: u128 = 1_000_000;
/// A period is stretched to this many ticks at least, by leaving expiries out.
const SHORTEST: u64 = 20_000;
/// A timer that is so many ticks behind begins anew.
const FAR_BEHIND: u64 = 1 << 43;
/// LVT: masked.
const MASKED: u32 = 1 << 16;
/// LVT timer: its mode.
const MODE: u32 = 3 << 17;
const PERIODIC: u32 = 1 << 17;
const BY_DEADLINE: u32 = 2 << 17;

/// When the timer expires.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timer {
    /// The moment, in ticks...
    pub(crate) ticks: u64,
    /// ...and millionths.
    pub(crate) millionths: u32,
    /// 1 if it runs.
    pub(crate) runs: u32,
    /// The period, in millionths.
    pub(crate) period: u64,
}

impl Timer {
    pub(crate) const STOPPED: Timer = Timer {
        ticks: 0,
        millionths: 0,
        runs: 0,
        period: 0,
    };

    fn exact(&self) -> u128 {
        u128::from(self.ticks) * MILLIONTHS + u128::from(self.millionths)
    }

    fn set(&mut self, exact: u128) {
        (self.ticks, self.millionths) = ((exact / MILLIONTHS) as u64, (exact % MILLIONTHS) as u32);
        self.runs = 1;
    }

    /// The first tick that is not before its moment; 0 if it does not run.
    pub(crate) fn deadline(&self) -> u64 {
        if self.runs == 0 {
            0
        } else {
            self.ticks.saturating_add((self.millionths != 0).into())
        }
    }

    /// Stops it, or lets it expire at a tick.
    pub(crate) fn set_deadline(&mut self, at: u64) {
        (self.ticks, self.millionths, self.runs) = (at, 0, (at != 0).into());
    }
}

impl State {
    /// Whether it is in TSC-deadline mode.
    pub(crate) fn by_deadline(&self) -> bool {
        self.register(number::LVT_TIMER) & MODE == BY_DEADLINE
    }

    /// Millionths of a tick that a count takes: the divide configuration's bits 3, 1 and 0 are a power of two, less one, modulo eight.
    fn count(&self) -> u64 {
        let divide = self.register(number::DIVIDE);
        let power = ((divide >> 1 & 4 | divide & 3) + 1) % 8;
        self.tsc_khz << power
    }

    /// It runs from `now` with so much left of the initial count.
    fn run(&mut self, left: u32, now: u64) {
        let count = self.count();
        self.timer.period = u64::from(self.register(number::INITIAL_COUNT)) * count;
        match u64::from(left) * count {
            0 => self.timer.set_deadline(0),
            left => self
                .timer
                .set(u128::from(now) * MILLIONTHS + u128::from(left)),
        }
    }

    /// The initial count is written.
    pub(crate) fn set_initial_count(&mut self, count: u32, now: u64) {
        if !self.by_deadline() {
            self.set_register(number::INITIAL_COUNT, count);
            self.run(count, now);
        }
    }

    /// The divide configuration is written: what is left stays so many counts.
    pub(crate) fn set_divide(&mut self, divide: u32, now: u64) {
        let left = self.current_count(now);
        self.set_register(number::DIVIDE, divide & 0x0b);
        if !self.by_deadline() && self.timer.runs != 0 {
            self.run(left, now);
        }
    }

    /// The LVT entry is written: a timer that changes between counting and deadlines stops.
    pub(crate) fn set_lvt_timer(&mut self, entry: u32) {
        let before = self.by_deadline();
        self.set_register(number::LVT_TIMER, entry);
        if self.by_deadline() != before {
            self.timer.set_deadline(0);
            self.set_register(number::INITIAL_COUNT, 0);
        }
    }

    /// What is left of the count.
    pub(crate) fn current_count(&self, now: u64) -> u32 {
        if self.by_deadline() || self.timer.runs == 0 {
            return 0;
        }
        let (exact, period) = (self.timer.exact(), u128::from(self.timer.period));
        let present = u128::from(now) * MILLIONTHS;
        let left = if self.timer.deadline() > now {
            exact - present
        } else if self.register(number::LVT_TIMER) & MODE == PERIODIC && period != 0 {
            period - (present - exact) % period
        } else {
            0
        };
        u32::try_from(left.div_ceil(u128::from(self.count().max(1)))).unwrap_or(u32::MAX)
    }

    /// The kernel's timer has expired. It may be early, or another server's: then nothing has.
    pub(crate) fn expire(&mut self, now: atoll_protocol::units::Ticks) {
        let now = now.0;
        if self.timer.runs == 0 || now < self.timer.deadline() {
            return;
        }
        let entry = self.register(number::LVT_TIMER);
        if entry & MODE == PERIODIC && self.timer.period != 0 {
            self.advance(now);
        } else {
            self.timer.set_deadline(0);
        }
        if entry & MASKED == 0 {
            self.receive(entry as u8, false);
        }
    }

    /// To the first expiry that is still to come, and not too near.
    fn advance(&mut self, now: u64) {
        let period = u128::from(self.timer.period);
        let near = period < u128::from(SHORTEST) * MILLIONTHS;
        let horizon = if near {
            now.saturating_add(SHORTEST)
        } else {
            now
        };
        if horizon.saturating_sub(self.timer.deadline()) > FAR_BEHIND {
            return self.timer.set(u128::from(now) * MILLIONTHS + period);
        }
        let behind = u128::from(horizon) * MILLIONTHS - self.timer.exact();
        self.timer
            .set(self.timer.exact() + (behind / period + 1) * period);
    }
}
