//! A counter for another server of the role, and from one.

use atoll_protocol::interchange::{CounterPhase, CounterState};

use super::{Channel, IDLE, PAUSED, RUNNING};

/// Cycles are far below this, and sums of two of them fit.
const LATEST: u64 = 1 << 62;

impl Channel {
    /// What another must know of it to go on.
    pub(crate) fn export(self) -> CounterState {
        CounterState {
            phase: match self.state {
                RUNNING => CounterPhase::Counting(self.start),
                PAUSED => CounterPhase::Held(self.paused),
                _ => CounterPhase::Idle,
            },
            mode: self.mode,
            decimal: self.bcd != 0,
            gate: self.gate != 0,
            loaded: self.loaded != 0,
            count: self.count,
            next: self.next,
            replaced: (self.switch_at != 0).then_some(self.switch_at),
            access: self.access,
            low: (self.half_written != 0).then_some(self.low),
            high_next: self.half_read != 0,
            latched: (self.latch, self.latched),
            status: (self.status_latched != 0).then_some(self.status),
        }
    }

    /// The counter that goes on from there; `None` if no counter can be there.
    pub(crate) fn import(before: &CounterState) -> Option<Channel> {
        let counts = 1..=if before.decimal { 10_000 } else { 0x1_0000 };
        let (state, start, paused) = match before.phase {
            CounterPhase::Idle => (IDLE, 0, 0),
            CounterPhase::Counting(since) => (RUNNING, since, 0),
            CounterPhase::Held(after) => (PAUSED, 0, after),
        };
        let switch_at = before.replaced.unwrap_or(0);
        let times = start < LATEST
            && paused < LATEST
            && switch_at < LATEST
            && (switch_at == 0 || start <= switch_at);
        let access = (1..=3).contains(&before.access) && before.mode <= 5 && before.latched.1 <= 2;
        if !(counts.contains(&before.count) && counts.contains(&before.next) && times && access) {
            return None;
        }
        Some(Channel {
            start,
            switch_at,
            paused,
            count: before.count,
            next: before.next,
            state,
            mode: before.mode,
            gate: before.gate.into(),
            bcd: before.decimal.into(),
            loaded: before.loaded.into(),
            access: before.access,
            half_written: before.low.is_some().into(),
            low: before.low.unwrap_or(0),
            half_read: before.high_next.into(),
            latched: before.latched.1,
            status_latched: before.status.is_some().into(),
            status: before.status.unwrap_or(0),
            latch: before.latched.0,
            ..Channel::default()
        })
    }
}
