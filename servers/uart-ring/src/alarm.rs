//! What is due, and when: mail, the character time-out, and opening the way for input.

use atoll_protocol::role::{Serial, SerialEffect};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::state::{NEVER, State, TIMEOUT};
use crate::{RingServer, traffic};

/// The only timer.
const ALARM: TimerId = TimerId::nth(0);
/// How long the guest must listen before the console may send: a driver that only looks for the chip would lose what comes.
const OPEN_NANOSECONDS: u64 = 2_000_000;

impl State {
    /// When the character time-out is due: four characters of ten bits after the last one came or was read.
    fn times_out_at(&self) -> u64 {
        if self.input.waiting() == 0 || self.causes.has(TIMEOUT) {
            return NEVER;
        }
        // Forty bits of `latch / 115200` seconds.
        let four = self
            .clock
            .tsc_khz
            .saturating_mul(1000 * u64::from(self.latch.max(1)))
            / 2880;
        self.touched.saturating_add(four)
    }
}

/// Sets the timer to the earliest of what is due; `now`, if something has been put off.
pub(crate) fn set(vault: &mut Vault<'_, RingServer>, now: bool, effects: &mut Effects<'_, Serial>) {
    let due = vault.sends_at.min(vault.opens_at).min(vault.times_out_at());
    let due = if now { due.min(effects.now().0) } else { due };
    // A string instruction that moves it all the time leaves it where it is: it may ring early, but not too late.
    if due == vault.alarm || due > vault.alarm && effects.is_crowded() {
        return;
    }
    *vault.at(|s| &mut s.alarm) = due;
    effects.emit(if due == NEVER {
        SerialEffect::Disarm(ALARM)
    } else {
        SerialEffect::Arm(ALARM, Ticks(due))
    });
}

/// A timer has expired: this one, or one that another server has armed before. Whatever is due is done.
pub(crate) fn rings(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    let now = effects.now().0;
    *vault.at(|s| &mut s.alarm) = NEVER;
    if vault.sends_at <= now {
        traffic::flush(vault, effects);
    }
    if vault.times_out_at() <= now {
        vault.at(|s| &mut s.causes).set(TIMEOUT);
    }
    if vault.opens_at <= now {
        *vault.at(|s| &mut s.opens_at) = NEVER;
        traffic::grant(vault, effects);
    }
}

/// Something has changed by which the guest may have begun to listen.
pub(crate) fn listen(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    if vault.opens_at == NEVER && vault.listens() && vault.room() >= 8 {
        let open = vault.clock.from_nanoseconds(OPEN_NANOSECONDS);
        *vault.at(|s| &mut s.opens_at) = effects.now().after(open).0;
    }
}

/// Which timers are armed is not known: this one is armed again, and others mean nothing.
pub(crate) fn take_over(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    *vault.at(|s| &mut s.alarm) = NEVER;
    effects.emit(SerialEffect::Disarm(ALARM));
}
