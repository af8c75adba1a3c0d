//! The timer's clock as a function of the time-stamp counter: cycle `c` begins at a tick that follows from `c` alone, so that nothing
//! drifts and nothing has to be accumulated.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The input clock of all three counters.
pub const HERTZ: u64 = 1_193_182;
/// A counter's frequency must be below this (kHz), for the arithmetic to fit 64 bits.
pub const TSC_KHZ_LIMIT: u64 = 1 << 25;

/// The two clocks' relation.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Cycles {
    tsc_hertz: u64,
}

impl Cycles {
    /// For a counter of this frequency, above 0 and below [`TSC_KHZ_LIMIT`].
    #[must_use]
    pub const fn new(tsc_khz: u64) -> Cycles {
        Cycles {
            tsc_hertz: tsc_khz * 1000,
        }
    }

    /// The cycle that is going on at `tick`. Whole seconds are taken apart from the rest: the product of the rest fits 64 bits.
    #[must_use]
    pub const fn at(self, tick: u64) -> u64 {
        let (seconds, rest) = (tick / self.tsc_hertz, tick % self.tsc_hertz);
        seconds * HERTZ + rest * HERTZ / self.tsc_hertz
    }

    /// The first tick of a cycle.
    #[must_use]
    pub const fn tick(self, cycle: u64) -> u64 {
        let (seconds, rest) = (cycle / HERTZ, cycle % HERTZ);
        seconds
            .saturating_mul(self.tsc_hertz)
            .saturating_add((rest * self.tsc_hertz).div_ceil(HERTZ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cycle_begins_at_its_first_tick(cycle in 1_u64..1 << 43, tsc_khz in 1_194_u64..TSC_KHZ_LIMIT) {
            let cycles = Cycles::new(tsc_khz);
            let tick = cycles.tick(cycle);
            prop_assert_eq!(cycles.at(tick), cycle);
            prop_assert_eq!(cycles.at(tick - 1), cycle - 1);
            prop_assert_eq!(u128::from(tick), (u128::from(cycle) * u128::from(tsc_khz) * 1000).div_ceil(u128::from(HERTZ)));
        }
    }
}
