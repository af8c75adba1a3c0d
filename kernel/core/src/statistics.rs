//! Where the time goes: per exit kind from #VMEXIT to the next VMRUN, with time in the guest and idle time as kinds of their own, so that
//! the sums add up to the time elapsed since the machine was let run; and per server, the time of its activations.

pub use atoll_protocol::control::{KINDS, Kind, Moments};
use atoll_protocol::units::Ticks;

/// No duration yet. The least is kept as the largest number, so that adding one asks nothing first.
pub(crate) const NO_MOMENTS: Moments = Moments {
    count: 0,
    min: u64::MAX,
    max: 0,
    sum: 0,
    squares: 0,
};

/// Adds one duration.
#[inline(always)]
pub(crate) fn record(moments: &mut Moments, span: u64) {
    // Conditional stores, not `min` and `max`: extremes are rare.
    if span < moments.min {
        moments.min = span;
    }
    if span > moments.max {
        moments.max = span;
    }
    moments.count = moments.count.wrapping_add(1);
    moments.sum = moments.sum.wrapping_add(span);
    moments.squares = moments
        .squares
        .wrapping_add(u128::from(span) * u128::from(span));
}

/// As it is reported: no duration has the least one 0.
pub(crate) fn reported(moments: &Moments) -> Moments {
    Moments {
        min: if moments.count == 0 { 0 } else { moments.min },
        ..*moments
    }
}

/// The exit statistics of a machine.
pub struct Statistics {
    kinds: [Moments; KINDS],
    /// What the time counts as; an exit may turn out to be of another kind.
    pub(crate) current: Kind,
    since: Ticks,
    /// When the guest was first let run; 0 before.
    pub(crate) first: Ticks,
    /// All exits.
    pub(crate) exits: u64,
}

impl Statistics {
    /// Nothing happened yet.
    pub const NONE: Statistics = Statistics {
        kinds: [NO_MOMENTS; KINDS],
        current: Kind::Idle,
        since: Ticks(0),
        first: Ticks(0),
        exits: 0,
    };

    /// The machine is let run: time counts from here on, as idle at first.
    pub(crate) fn begin(&mut self, now: Ticks) {
        if self.first.0 == 0 {
            (self.first, self.since) = (now, now);
        }
    }

    /// From here on the time counts as `kind`; what was before is recorded.
    #[inline(always)]
    pub(crate) fn switch(&mut self, now: Ticks, kind: Kind) {
        if let Some(moments) = self.kinds.get_mut(self.current as usize) {
            record(moments, now.0.wrapping_sub(self.since.0));
        }
        self.since = now;
        self.current = kind;
    }

    /// One kind's moments.
    pub fn kind(&self, index: usize) -> Option<Moments> {
        self.kinds.get(index).map(reported)
    }

    /// Time since the machine was let run up to the last switch.
    pub fn elapsed(&self) -> u64 {
        self.since.since(self.first).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_equal_the_time_that_passed() {
        let mut statistics = Statistics::NONE;
        let mut now = 1000;
        statistics.begin(Ticks(now));
        for round in 0..1000_u64 {
            let kind = [Kind::Guest, Kind::Cpuid, Kind::Guest, Kind::Hlt, Kind::Idle]
                [(round % 5) as usize];
            statistics.switch(Ticks(now), kind);
            now += round * 7 % 113;
        }
        statistics.switch(Ticks(now), Kind::Guest);
        let sum: u64 = (0..KINDS)
            .filter_map(|kind| statistics.kind(kind))
            .map(|moments| moments.sum)
            .sum();
        assert_eq!(sum, now - 1000);
        assert_eq!(statistics.elapsed(), now - 1000);
    }
}
