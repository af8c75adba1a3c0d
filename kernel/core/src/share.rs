//! The guest's share: no server, and not all of them together, keep the guest from running by their timers and the host's interrupts.
//!
//! Either activates a server for as long as its budget, and a server can see to it that there is always a next one. So what is used for
//! messages that the guest has not asked for is held against the rest of the time, which is the guest's: it runs, or waits for the answer to
//! an exit. They may be ahead of it by [`AHEAD_MS`] and one long activation; then it is the guest's turn until it has its share, one part in
//! [`PARTS`]: the timers and interrupts of those wait that have used more than one part in [`GREEDY`] of what they may be ahead. Mail does not
//! wait: a sender's credit is for what the guest may bring about at once, and is used up where it runs on while nothing is delivered. What
//! happens while the guest sleeps is not counted.

use atoll_protocol::units::{ServerId, Ticks};

use crate::State;
use crate::ids::PerServer;
use crate::machine::Machine;
use crate::vcpu::Stand;

/// The guest has one part in so many of the time.
pub const PARTS: u64 = 4;
/// Milliseconds that servers may have used before the guest has run for them.
pub const AHEAD_MS: u64 = 10;

/// Who has used more than one part in so many of that has its timers and interrupts held in the guest's turn.
const GREEDY: u64 = 4;

/// What servers may still use. It is earned while the guest runs, and at most [`AHEAD_MS`] of it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Ticks that are left; below 0 it may be the guest's turn.
    pub(crate) left: i64,
    /// Ticks that were left when it was worked out last, and when that was.
    had: i64,
    since: Ticks,
    /// What each server had used when the guest's turn was over last.
    used: PerServer<u64>,
}

impl Share {
    pub(crate) const NONE: Share = Share {
        left: 0,
        had: 0,
        since: Ticks(0),
        used: PerServer([0; ServerId::COUNT]),
    };
}

impl<M: Machine> State<M> {
    /// Whether a server's timers and interrupts wait in the guest's turn.
    pub(crate) fn is_greedy(&self, server: ServerId) -> bool {
        let most = self.machine.tsc_khz().saturating_mul(AHEAD_MS) / GREEDY;
        let used = self.servers[server]
            .time
            .sum
            .wrapping_sub(self.share.used[server]);
        used > most
    }

    /// Nothing is left: what was earned since then is added. If that is not enough it is the guest's turn: for how long.
    pub(crate) fn turn_of_guest(&mut self, now: Ticks) -> Option<Ticks> {
        let Share {
            left, had, since, ..
        } = self.share;
        let used = had.saturating_sub(left).max(0).cast_unsigned();
        let earned = now
            .since(since)
            .0
            .saturating_sub(used)
            .saturating_mul(PARTS - 1);
        let most = self
            .machine
            .tsc_khz()
            .saturating_mul(AHEAD_MS)
            .cast_signed();
        let could_run = self.running && self.vcpu.stand == Stand::Runnable;
        let left = if could_run {
            left.saturating_add_unsigned(earned).min(most)
        } else {
            most
        };
        (self.share.left, self.share.had, self.share.since) = (left, left, now);
        if left >= 0 {
            for (server, used) in self.share.used.iter_mut() {
                *used = self.servers[server].time.sum;
            }
        }
        (left < 0).then(|| Ticks(left.unsigned_abs() / (PARTS - 1) + 1))
    }
}
