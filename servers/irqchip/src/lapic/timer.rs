//! The local APIC's timer: one-shot, periodic, TSC-deadline (Intel SDM vol. 3 §11.5.4).
//!
//! The bus clock is [`BUS_HERTZ`]; one count takes `divisor * tsc_khz` millionths of a TSC tick, a whole number. A periodic timer keeps its
//! period in these units and what its deadline was rounded up by, so that its n-th deadline is exact however large n is.

use super::{Lapic, MASKED};

/// The bus clock: what CPUID leaf 0x40000010 says.
pub const BUS_HERTZ: u64 = 1_000_000_000;
/// Millionths of a tick per tick.
const MILLIONTHS: u64 = 1_000_000;
/// The shortest period that is kept, in ticks: below it expiries are left out, so that a guest cannot keep its host busy.
const SHORTEST: u64 = 20_000;
/// Behind by more than this (ticks), a periodic timer begins anew.
const FAR_BEHIND: u64 = 1 << 43;

pub(crate) const MODE: u32 = 3 << 17;
const PERIODIC: u32 = 1 << 17;
/// LVT timer mode: TSC-deadline.
pub(crate) const TSC_DEADLINE: u32 = 2 << 17;

// A count of one bus cycle is `tsc_khz` millionths of a tick only because the bus runs at 1 GHz.
const _: () = assert!(BUS_HERTZ == 1000 * MILLIONTHS);

/// The divisor that the divide configuration register's bits 0, 1 and 3 select.
fn divisor(divide: u8) -> u64 {
    let code = divide & 3 | (divide & 8) >> 1;
    1 << ((code + 1) & 7)
}

impl Lapic {
    /// Millionths of a TSC tick per count.
    fn count_length(&self, tsc_khz: u64) -> u64 {
        divisor(self.registers.divide) * tsc_khz
    }

    /// The initial count is written: the timer starts, or with 0 stops.
    pub(super) fn set_initial_count(&mut self, count: u32, now: u64, tsc_khz: u64) {
        if !self.live.by_deadline() {
            self.registers.initial_count = count;
            self.run(count, now, tsc_khz);
        }
    }

    /// Runs from `now` with `count` left of the initial count.
    fn run(&mut self, count: u32, now: u64, tsc_khz: u64) {
        let length = self.count_length(tsc_khz);
        self.live.period = u64::from(self.registers.initial_count) * length;
        let left = u64::from(count) * length;
        self.live.deadline = if left == 0 {
            0
        } else {
            now.saturating_add(left.div_ceil(MILLIONTHS))
        };
        self.registers.early = rounded_up(left);
    }

    /// The divide configuration is written: the count goes on from where it is.
    pub(super) fn set_divide(&mut self, divide: u8, now: u64, tsc_khz: u64) {
        let count = self.current_count(now, tsc_khz);
        self.registers.divide = divide & 0x0b;
        if !self.live.by_deadline() && self.live.deadline != 0 {
            self.run(count, now, tsc_khz);
        }
    }

    /// The timer's LVT entry is written. Going into or out of TSC-deadline mode stops the timer.
    pub(super) fn set_lvt_timer(&mut self, entry: u32) {
        let was_deadline = self.live.by_deadline();
        self.live.lvt_timer = entry;
        if self.live.by_deadline() != was_deadline {
            self.live.deadline = 0;
            self.registers.initial_count = 0;
        }
    }

    /// The current count, at `now`.
    #[must_use]
    pub fn current_count(&self, now: u64, tsc_khz: u64) -> u32 {
        if self.live.by_deadline() || self.live.deadline == 0 {
            return 0;
        }
        let early = u64::from(self.registers.early);
        let left = match self.live.deadline.checked_sub(now) {
            Some(left) if left != 0 => left.saturating_mul(MILLIONTHS).saturating_sub(early),
            // It has expired and the message is on its way.
            _ if self.live.lvt_timer & MODE == PERIODIC && self.live.period != 0 => {
                let behind = (now - self.live.deadline)
                    .saturating_mul(MILLIONTHS)
                    .saturating_add(early);
                self.live.period - behind % self.live.period
            }
            _ => return 0,
        };
        u32::try_from(left.div_ceil(self.count_length(tsc_khz).max(1))).unwrap_or(u32::MAX)
    }

    /// The timer has expired (the caller has seen that its deadline has passed): the interrupt, and the next deadline of a periodic one.
    pub fn expire(&mut self, now: u64) {
        let entry = self.live.lvt_timer;
        match entry & MODE {
            PERIODIC => self.advance(now),
            _ => self.live.deadline = 0,
        }
        if entry & MASKED == 0 {
            self.receive(entry as u8, false);
        }
    }

    /// Moves a periodic timer's deadline to the first expiry that lies ahead.
    fn advance(&mut self, now: u64) {
        let period = self.live.period;
        // A count that was left over from the time before the timer became periodic has no period.
        if period == 0 {
            self.live.deadline = 0;
            return;
        }
        let horizon = if period < SHORTEST * MILLIONTHS {
            now.saturating_add(SHORTEST)
        } else {
            now
        };
        let behind = horizon.saturating_sub(self.live.deadline);
        if behind > FAR_BEHIND {
            self.live.deadline = now.saturating_add(period.div_ceil(MILLIONTHS));
            self.registers.early = rounded_up(period);
            return;
        }
        let early = u64::from(self.registers.early);
        let expiries = (behind * MILLIONTHS + early) / period + 1;
        let ahead = expiries * period - early;
        self.live.deadline = self
            .live
            .deadline
            .saturating_add(ahead.div_ceil(MILLIONTHS));
        self.registers.early = rounded_up(ahead);
    }
}

/// By how many millionths rounding a span up to whole ticks makes it longer.
fn rounded_up(span: u64) -> u32 {
    (span.div_ceil(MILLIONTHS) * MILLIONTHS - span) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE_SHOT: u32 = 0 << 17;

    fn running(mode: u32, count: u32, divide: u8, now: u64, tsc_khz: u64) -> Lapic {
        let mut lapic = Lapic::new(0);
        lapic.set_lvt_timer(mode | 0xec);
        lapic.set_divide(divide, now, tsc_khz);
        lapic.set_initial_count(count, now, tsc_khz);
        lapic
    }

    #[test]
    fn the_divide_register_selects_1_to_128() {
        let codes = [
            (0b0000, 2),
            (0b0001, 4),
            (0b0010, 8),
            (0b0011, 16),
            (0b1000, 32),
            (0b1001, 64),
            (0b1010, 128),
            (0b1011, 1),
        ];
        for (code, by) in codes {
            assert_eq!(divisor(code), by);
        }
    }

    #[test]
    fn a_one_shot_timer_fires_once_after_its_count() {
        let mut lapic = running(ONE_SHOT, 1000, 0b1011, 5000, 2_000_000);
        assert_eq!(lapic.live.deadline, 7000);
        assert_eq!(lapic.current_count(6000, 2_000_000), 500);
        lapic.expire(7000);
        assert_eq!(
            (lapic.live.deadline, lapic.current_count(7001, 2_000_000)),
            (0, 0)
        );
        assert!(lapic.live.irr.contains(0xec));
    }

    #[test]
    fn a_changed_divisor_keeps_the_count() {
        let mut lapic = running(ONE_SHOT, 1000, 0b1011, 0, 1_000_000);
        lapic.set_divide(0b0000, 400, 1_000_000);
        assert_eq!(lapic.current_count(400, 1_000_000), 600);
        assert_eq!(lapic.live.deadline, 400 + 1200);
    }

    #[test]
    fn entering_deadline_mode_stops_the_counter() {
        let mut lapic = running(PERIODIC, 1000, 0b1011, 0, 1_000_000);
        lapic.set_lvt_timer(TSC_DEADLINE | 0xec);
        assert_eq!((lapic.live.deadline, lapic.registers.initial_count), (0, 0));
        lapic.set_initial_count(77, 0, 1_000_000);
        assert_eq!((lapic.live.deadline, lapic.registers.initial_count), (0, 0));
    }

    #[test]
    fn a_very_short_period_is_stretched_but_keeps_its_phase() {
        let mut lapic = running(PERIODIC, 7, 0b1011, 0, 1_000_000);
        lapic.expire(7);
        assert!(lapic.live.deadline >= 7 + SHORTEST);
        assert_eq!(lapic.live.deadline % 7, 0);
    }

    proptest! {
        #[test]
        fn a_periodic_timer_never_drifts(
            count in 20_000_u32.., divide in 0_u8..16, tsc_khz in 1_000_000_u64..5_000_000, late in prop::collection::vec(0_u64..30_000, 1..200),
        ) {
            let mut lapic = running(PERIODIC, count, divide, 12_345, tsc_khz);
            let period = u128::from(count) * u128::from(divisor(divide)) * u128::from(tsc_khz);
            for (n, late) in (1_u128..).zip(late) {
                let exact = (12_345 * 1_000_000 + n * period).div_ceil(1_000_000);
                prop_assert_eq!(u128::from(lapic.live.deadline), exact);
                // However late the message is, as long as it is less than a period.
                let late = late.min((period / 1_000_000) as u64 - 1);
                lapic.expire(lapic.live.deadline + late);
            }
        }

        #[test]
        fn missed_periods_are_left_out_and_the_phase_is_kept(count in 20_000_u32..1_000_000, tsc_khz in 1_000_000_u64..5_000_000, missed in 0_u64..1000) {
            let mut lapic = running(PERIODIC, count, 0b1011, 0, tsc_khz);
            let period = u128::from(count) * u128::from(tsc_khz);
            let now = (period * u128::from(missed + 1)).div_ceil(1_000_000) as u64;
            lapic.expire(now);
            prop_assert_eq!(u128::from(lapic.live.deadline), (period * u128::from(missed + 2)).div_ceil(1_000_000));
        }

        #[test]
        fn the_current_count_follows_time(count in 1_u32.., divide in 0_u8..16, tsc_khz in 1_000_000_u64..5_000_000, part in 0_u64..1000) {
            let lapic = running(ONE_SHOT, count, divide, 0, tsc_khz);
            let length = u128::from(divisor(divide)) * u128::from(tsc_khz);
            let now = (u128::from(count) * length / 1_000_000 * u128::from(part) / 1000) as u64;
            let passed = u128::from(now) * 1_000_000 / length;
            prop_assert_eq!(u128::from(lapic.current_count(now, tsc_khz)), u128::from(count) - passed);
        }
    }
}
