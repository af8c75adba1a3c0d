//! Time that the host has stolen is nobody's fault.
//!
//! The counter goes on while the host runs something else, or has stopped the emulator altogether; what has to be done in time has not had
//! that time. A timer tick tells: it comes when it was armed for, if the processor was there. So whatever is past its deadline is looked at
//! again and again, and is too late when so many looks were on time. A look that was late counts for little, but for something: on a host
//! whose timers are all coarse nothing may hang for ever. Where the counter counts instructions nothing is stolen, and a deadline is exact.

use atoll_protocol::units::Ticks;

/// So many looks that were late are worth one that was not.
const LATE: u32 = 8;

/// How something that is past its deadline is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Looks on time before it is too late.
    looks: u32,
    /// What is waited for: the deadline that it has missed.
    deadline: Ticks,
    /// When it was looked at last.
    last: Ticks,
    /// Looks so far, a late one as 1, another as [`LATE`].
    seen: u32,
}

impl Patience {
    /// Waits for so many looks.
    #[must_use]
    pub const fn of(looks: u32) -> Self {
        Patience {
            looks,
            deadline: Ticks(0),
            last: Ticks(0),
            seen: 0,
        }
    }

    /// Waits for none: the clock counts instructions.
    pub fn be_exact(&mut self) {
        self.looks = 0;
    }

    /// One look at what should have been over at `deadline` (which tells it from all else); true if it is too late for it. If it is not,
    /// the next look is wanted `every` from now.
    pub fn look(&mut self, deadline: Ticks, now: Ticks, every: Ticks) -> bool {
        let again = self.deadline == deadline && self.looks != 0;
        let on_time = now.since(self.last).0 <= every.0.saturating_mul(2);
        // What lies before the first look is not known.
        self.seen = if again {
            self.seen.saturating_add(if on_time { LATE } else { 1 })
        } else {
            0
        };
        (self.deadline, self.last) = (deadline, now);
        self.seen >= self.looks.saturating_mul(LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Ticks = Ticks(100);
    const DEADLINE: Ticks = Ticks(1000);

    /// After how many looks, each `gap` after the other, it is too late.
    fn looks(patience: &mut Patience, gaps: impl IntoIterator<Item = u64>) -> usize {
        let mut now = 2000;
        1 + gaps
            .into_iter()
            .take_while(|gap| {
                let over = patience.look(DEADLINE, Ticks(now), EVERY);
                now += gap;
                !over
            })
            .count()
    }

    #[test]
    fn what_runs_on_is_too_late_after_so_many_looks_on_time() {
        assert_eq!(looks(&mut Patience::of(16), [110; 100]), 17);
    }

    #[test]
    fn a_deadline_is_exact_where_nothing_is_stolen() {
        let mut patience = Patience::of(16);
        patience.be_exact();
        assert_eq!(looks(&mut patience, [110; 100]), 1);
    }

    #[test]
    fn looks_that_the_host_has_made_late_count_for_little() {
        // A host that takes the processor away between any two looks.
        assert_eq!(
            looks(&mut Patience::of(16), [50_000; 500]),
            1 + 16 * LATE as usize
        );
        // One that does so every other time: those on time count as ever.
        assert_eq!(
            looks(
                &mut Patience::of(16),
                [110, 50_000].into_iter().cycle().take(500)
            ),
            30
        );
    }

    #[test]
    fn another_deadline_is_another_matter() {
        let mut patience = Patience::of(2);
        for deadline in 0..100 {
            assert!(!patience.look(Ticks(deadline), Ticks(2000 + deadline), EVERY));
        }
    }
}
