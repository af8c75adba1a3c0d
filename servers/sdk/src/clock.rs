//! Conversions between the time-stamp counter and other clocks.

use atoll_protocol::message::Machine;
use atoll_protocol::units::Ticks;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The time-stamp counter's frequency, and what follows from it. Plain data: it can be part of a server's state.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Clock {
    /// In kHz.
    pub tsc_khz: u64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn new(machine: &Machine) -> Clock {
        Clock {
            tsc_khz: machine.tsc_khz,
        }
    }

    /// How many cycles of a clock of `hertz` pass in `span`, rounded down.
    #[must_use]
    pub const fn cycles(self, span: Ticks, hertz: u64) -> u64 {
        (span.0 as u128 * hertz as u128 / (self.tsc_khz as u128 * 1000)) as u64
    }

    /// The span that `cycles` of a clock of `hertz` take, rounded up, so that after it at least so many cycles have passed.
    #[must_use]
    pub const fn span(self, cycles: u64, hertz: u64) -> Ticks {
        let ticks = (cycles as u128 * self.tsc_khz as u128 * 1000).div_ceil(hertz as u128);
        Ticks(if ticks > u64::MAX as u128 {
            u64::MAX
        } else {
            ticks as u64
        })
    }

    /// A span in nanoseconds, rounded down.
    #[must_use]
    pub const fn nanoseconds(self, span: Ticks) -> u64 {
        self.cycles(span, 1_000_000_000)
    }

    /// The span of so many nanoseconds, rounded up.
    #[must_use]
    pub const fn from_nanoseconds(self, nanoseconds: u64) -> Ticks {
        self.span(nanoseconds, 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_cycles_is_never_too_short() {
        let clock = Clock { tsc_khz: 2_894_571 };
        for cycles in [1, 2, 3, 1000, 65_535, 1 << 40] {
            for hertz in [1_193_182, 3_579_545, 1_000_000_000, 32_768] {
                let back = clock.cycles(clock.span(cycles, hertz), hertz);
                assert!(
                    back >= cycles && back <= cycles + 1,
                    "{cycles} at {hertz}: {back}"
                );
            }
        }
    }
}
