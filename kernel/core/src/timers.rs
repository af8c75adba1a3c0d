//! One-shot timers of servers. They belong to the role: a server's death does not disarm them.

use atoll_protocol::ids::{ServerId, TimerId};
use atoll_protocol::units::Ticks;

use crate::ids::{PerServer, Set};

const NEVER: Ticks = Ticks(u64::MAX);

/// One server's timers.
#[derive(Clone, Copy, Debug)]
struct Own {
    deadlines: [Ticks; TimerId::COUNT],
    armed: Set<TimerId>,
}

impl Own {
    const NONE: Own = Own {
        deadlines: [NEVER; TimerId::COUNT],
        armed: Set::EMPTY,
    };

    fn each(&self) -> impl Iterator<Item = (TimerId, Ticks)> {
        let all = TimerId::all().zip(self.deadlines);
        all.filter(|(timer, _)| self.armed.contains(*timer))
    }
}

/// All timers.
pub struct Timers {
    of: PerServer<Own>,
    /// Servers with an armed one.
    armed: Set<ServerId>,
}

impl Timers {
    /// None armed.
    pub const NONE: Timers = Timers {
        of: PerServer([Own::NONE; ServerId::COUNT]),
        armed: Set::EMPTY,
    };

    /// Arms a timer, or moves it.
    #[inline(always)]
    pub(crate) fn arm(&mut self, server: ServerId, timer: TimerId, at: Ticks) {
        let own = &mut self.of[server];
        if let Some(deadline) = own.deadlines.get_mut(timer.index()) {
            *deadline = at;
        }
        own.armed.insert(timer);
        self.armed.insert(server);
    }

    /// Disarms a timer.
    #[inline(always)]
    pub(crate) fn disarm(&mut self, server: ServerId, timer: TimerId) {
        let own = &mut self.of[server];
        own.armed.remove(timer);
        self.armed.set(server, !own.armed.is_empty());
    }

    /// Disarms all of a server's.
    pub(crate) fn clear(&mut self, server: ServerId) {
        self.of[server].armed = Set::EMPTY;
        self.armed.remove(server);
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (ServerId, TimerId, Ticks)> + '_ {
        let of = |server| {
            self.of[server]
                .each()
                .map(move |(timer, at)| (server, timer, at))
        };
        self.armed.iter().flat_map(of)
    }

    /// Takes one timer that has expired.
    pub(crate) fn expired(&mut self, now: Ticks) -> Option<(ServerId, TimerId)> {
        let (server, timer, _) = self.each().find(|(_, _, deadline)| *deadline <= now)?;
        self.disarm(server, timer);
        Some((server, timer))
    }

    /// When the next one expires.
    pub(crate) fn earliest(&self) -> Ticks {
        let deadlines = self.each().map(|(_, _, deadline)| deadline);
        deadlines.min().unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        let (one, other) = (ServerId::nth(1), ServerId::nth(23));
        let (first, last) = (TimerId::nth(0), TimerId::nth(3));
        let mut timers = Timers::NONE;
        timers.arm(other, last, Ticks(100));
        timers.arm(one, first, Ticks(50));
        assert_eq!(timers.earliest(), Ticks(50));
        assert_eq!(timers.expired(Ticks(49)), None);
        assert_eq!(timers.expired(Ticks(100)), Some((one, first)));
        assert_eq!(timers.expired(Ticks(100)), Some((other, last)));
        assert_eq!(timers.expired(Ticks(100)), None);
        assert_eq!(timers.earliest(), NEVER);
    }
}
