//! One-shot timers of servers. They belong to the role: a server's death does not disarm them.

use atoll_protocol::units::{ServerId, Ticks, TimerId};
use atoll_protocol::{SERVERS, TIMERS};

const NEVER: Ticks = Ticks(u64::MAX);

/// All timers.
pub struct Timers {
    deadlines: [Ticks; SERVERS * TIMERS],
    armed: u128,
}

const fn place(server: ServerId, timer: TimerId) -> usize {
    server.0 as usize * TIMERS + timer.0 as usize
}

impl Timers {
    /// None armed.
    pub const NONE: Timers = Timers {
        deadlines: [NEVER; SERVERS * TIMERS],
        armed: 0,
    };

    /// Arms a timer, or moves it.
    #[inline(always)]
    pub(crate) fn arm(&mut self, server: ServerId, timer: TimerId, at: Ticks) {
        if let Some(deadline) = self.deadlines.get_mut(place(server, timer)) {
            *deadline = at;
            self.armed |= 1 << place(server, timer);
        }
    }

    /// Disarms a timer.
    #[inline(always)]
    pub(crate) fn disarm(&mut self, server: ServerId, timer: TimerId) {
        self.armed &= !(1 << place(server, timer));
    }

    /// Disarms all of a server's.
    pub(crate) fn clear(&mut self, server: ServerId) {
        (0..TIMERS as u8).for_each(|timer| self.disarm(server, TimerId(timer)));
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, Ticks)> + '_ {
        let mut left = self.armed;
        core::iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            self.deadlines.get(place).map(|deadline| (place, *deadline))
        })
    }

    /// Takes one timer that has expired.
    pub(crate) fn expired(&mut self, now: Ticks) -> Option<(ServerId, TimerId)> {
        let (place, _) = self.each().find(|(_, deadline)| *deadline <= now)?;
        self.armed &= !(1 << place);
        Some(Self::owner(place))
    }

    pub(crate) fn owner(place: usize) -> (ServerId, TimerId) {
        (
            ServerId((place / TIMERS) as u8),
            TimerId((place % TIMERS) as u8),
        )
    }

    /// When the next one expires.
    pub(crate) fn earliest(&self) -> Ticks {
        self.each()
            .map(|(_, deadline)| deadline)
            .min()
            .unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        let mut timers = Timers::NONE;
        timers.arm(ServerId(23), TimerId(3), Ticks(100));
        timers.arm(ServerId(1), TimerId(0), Ticks(50));
        assert_eq!(timers.earliest(), Ticks(50));
        assert_eq!(timers.expired(Ticks(49)), None);
        assert_eq!(timers.expired(Ticks(100)), Some((ServerId(1), TimerId(0))));
        assert_eq!(timers.expired(Ticks(100)), Some((ServerId(23), TimerId(3))));
        assert_eq!(timers.expired(Ticks(100)), None);
        assert_eq!(timers.earliest(), NEVER);
    }
}
