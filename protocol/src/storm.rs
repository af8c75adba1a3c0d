//! Restarts per time. A server that gets past each message at which it fails begins with all its attempts again at the next; how often it
//! fails in a minute ends that. What is counted leaks away at a steady rate (a leaky bucket), so that faults now and then count for nothing.

use crate::units::Ticks;

/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;
/// Longest pause, as a power of two in milliseconds.
const LONGEST: u32 = 6;

/// What has not leaked away yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// Up to when it has leaked.
    pub since: Ticks,
    /// Faults that count.
    pub level: u8,
}

/// What is to be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Restart it at once.
    Fair,
    /// Restart it after so many milliseconds.
    Gusty(u64),
    /// There have been more than may be in a minute.
    Storm,
}

impl Storm {
    /// Nothing has happened.
    pub const NONE: Storm = Storm {
        since: Ticks(0),
        level: 0,
    };

    /// One more fault, where so many in a minute are allowed: from the half of them on restarts are made slower.
    pub fn fault(&mut self, now: Ticks, per_minute: u8, millisecond: u64) -> Weather {
        let each = (millisecond.saturating_mul(MINUTE) / u64::from(per_minute.max(1))).max(1);
        let leaked = now.since(self.since).0 / each;
        match u8::try_from(leaked)
            .ok()
            .and_then(|leaked| self.level.checked_sub(leaked))
            .filter(|left| *left > 0)
        {
            Some(left) => {
                (self.level, self.since) =
                    (left, self.since.after(Ticks(leaked.saturating_mul(each))))
            }
            None => (self.level, self.since) = (0, now),
        }
        self.level = self.level.saturating_add(1);
        if self.level > per_minute {
            return Weather::Storm;
        }
        match u32::from(self.level).checked_sub(u32::from(per_minute / 2) + 1) {
            Some(beyond) => Weather::Gusty(1 << beyond.min(LONGEST)),
            None => Weather::Fair,
        }
    }

    /// Whether nothing of it is left, and has not been for a minute.
    #[must_use]
    pub fn is_over(&self, now: Ticks, millisecond: u64) -> bool {
        now.since(self.since).0 >= millisecond.saturating_mul(2 * MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// A tick is a millisecond.
    fn faults(every: u64, count: u64) -> Vec<Weather> {
        let mut storm = Storm::NONE;
        (0..count)
            .map(|nth| storm.fault(Ticks(1_000_000 + nth * every), 10, 1))
            .collect()
    }

    #[test]
    fn faults_at_once_are_slowed_down_and_then_too_many() {
        let gusty = [1, 2, 4, 8, 16].map(Weather::Gusty);
        let all = [&[Weather::Fair; 5][..], &gusty, &[Weather::Storm]].concat();
        assert_eq!(faults(1, 11), all);
    }

    #[test]
    fn faults_that_leak_away_in_time_never_count() {
        assert!(
            faults(6_000, 1_000)
                .iter()
                .all(|weather| *weather == Weather::Fair)
        );
        // Twelve a minute are two too many: it takes five minutes.
        let storm = faults(5_000, 1_000)
            .iter()
            .position(|weather| *weather == Weather::Storm);
        assert!(
            storm.is_some_and(|nth| (50..70).contains(&nth)),
            "{storm:?}"
        );
    }

    #[test]
    fn a_pause_has_a_longest() {
        let mut storm = Storm::NONE;
        let longest = (0..200).filter_map(|_| match storm.fault(Ticks(9), 200, 1) {
            Weather::Gusty(pause) => Some(pause),
            _ => None,
        });
        assert_eq!(longest.max(), Some(64));
    }

    #[test]
    fn it_is_over_two_minutes_after_the_last_fault_that_counted() {
        let mut storm = Storm::NONE;
        storm.fault(Ticks(1_000_000), 10, 1);
        assert!(!storm.is_over(Ticks(1_119_999), 1) && storm.is_over(Ticks(1_120_000), 1));
    }
}
