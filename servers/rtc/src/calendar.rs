//! Seconds since 1970 as a date and back, in the proleptic Gregorian calendar.

/// Days of 400 years, after which the calendar repeats.
const DAYS_400: u64 = 146_097;
/// Days from 1 March of year 0 to 1 January 1970.
const EPOCH: u64 = 719_468;
/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    /// All four digits.
    pub(crate) year: u64,
    /// 1 to 12.
    pub(crate) month: u64,
    /// 1 to 31.
    pub(crate) day: u64,
    /// 0 to 23.
    pub(crate) hour: u64,
    /// 0 to 59.
    pub(crate) minute: u64,
    /// 0 to 59.
    pub(crate) second: u64,
}

impl Date {
    /// The date that lies so many seconds after the start of 1970.
    pub(crate) fn at(seconds: u64) -> Date {
        // Counting from 1 March puts the leap day at a year's end, so that no formula has to know about it.
        let days = seconds / DAY + EPOCH;
        let (cycle, day) = (days / DAYS_400, days % DAYS_400);
        // The last day of 4, 100 and 400 years is the one that a plain division would count to the next year.
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // From March the months' lengths repeat every five months, of 153 days.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let january = month >= 10;
        Date {
            year: cycle * 400 + year + u64::from(january),
            month: if january { month - 9 } else { month + 3 },
            day,
            hour: seconds % DAY / 3600,
            minute: seconds % 3600 / 60,
            second: seconds % 60,
        }
    }

    /// Seconds since the start of 1970; 0 for what lies before. Values out of range are taken as their nearest neighbours.
    pub(crate) fn seconds(self) -> u64 {
        let (month, day) = (self.month.clamp(1, 12), self.day.clamp(1, 31));
        let (year, month) = if month <= 2 {
            (self.year.saturating_sub(1), month + 9)
        } else {
            (self.year, month - 3)
        };
        let days =
            365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        let time = self.hour.min(23) * 3600 + self.minute.min(59) * 60 + self.second.min(59);
        days.saturating_sub(EPOCH) * DAY + time
    }

    /// The day of the week, Sunday being 1.
    pub(crate) fn weekday(self) -> u64 {
        // 1 January 1970 was a Thursday.
        (self.seconds() / DAY + 4) % 7 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_a_thousand_years_comes_back_and_follows_the_day_before() {
        let mut before = Date::at(0);
        assert_eq!(
            (before.year, before.month, before.day, before.weekday()),
            (1970, 1, 1, 5)
        );
        for day in 1..365_243 {
            let date = Date::at(day * DAY);
            assert_eq!(date.seconds(), day * DAY);
            let next_day = (date.year, date.month) == (before.year, before.month)
                && date.day == before.day + 1;
            let next_month =
                date.day == 1 && before.day >= 28 && (date.month == before.month % 12 + 1);
            assert!(next_day || next_month, "{before:?} then {date:?}");
            before = date;
        }
    }

    #[test]
    fn known_moments_are_right() {
        let date = |year, month, day, hour, minute, second| Date {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        assert_eq!(Date::at(1_577_836_800), date(2020, 1, 1, 0, 0, 0));
        assert_eq!(Date::at(951_782_400), date(2000, 2, 29, 0, 0, 0));
        assert_eq!(Date::at(4_107_542_399), date(2100, 2, 28, 23, 59, 59));
        assert_eq!(Date::at(4_107_542_400), date(2100, 3, 1, 0, 0, 0));
        assert_eq!(date(2020, 1, 1, 0, 0, 0).weekday(), 4);
    }
}
