//! Flags, alarm and the interrupt line.
//!
//! The flags of register C follow from how much time has passed since they were last looked at; a timer is armed only for an interrupt
//! that the guest has enabled and that is not pending already.

use atoll_protocol::effect::Signal;
use atoll_protocol::role::{Clock, DeviceEffect};
use atoll_protocol::units::{LineId, Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::RtcServer;
use crate::calendar::DAY;
use crate::format::Format;
use crate::state::{ALARM, PERIODIC, RtcState, UPDATE};

/// The next second, or the next alarm.
const SECOND: TimerId = TimerId::nth(0);
/// The next period.
const PERIOD: TimerId = TimerId::nth(1);

/// An alarm location with both upper bits set matches everything.
const ANY: u8 = 0xc0;

/// The first second after `after` at which the alarm goes off, if it ever does.
fn next_alarm(state: &RtcState, after: u64) -> Option<u64> {
    let format = Format::of(state.run.b);
    let [_, second, _, minute, _, hour, ..] = state.ram;
    let wanted = |register: u8, value: u64| {
        if register & ANY == ANY {
            None
        } else {
            Some(value)
        }
    };
    let second = wanted(second, format.read(second));
    let minute = wanted(minute, format.read(minute));
    let hour = wanted(hour, format.read_hour(hour));
    let matches = |wanted: Option<u64>, value: u64| wanted.is_none_or(|wanted| wanted == value);
    // Skips whole hours and minutes that cannot match: less than 150 steps to anywhere in a day.
    let mut at = after + 1;
    while at <= after + DAY {
        if !matches(hour, at % DAY / 3600) {
            at = (at / 3600 + 1) * 3600;
        } else if !matches(minute, at % 3600 / 60) {
            at = (at / 60 + 1) * 60;
        } else if !matches(second, at % 60) {
            at += 1;
        } else {
            return Some(at);
        }
    }
    None
}

/// Brings the flags up to date.
pub(crate) fn settle(vault: &mut Vault<'_, RtcServer>, now: u64) {
    let (run, mut flags) = (vault.run, vault.run.flags);
    if !run.held() {
        let (before, after) = (run.seconds(run.seen), run.seconds(now));
        if after > before {
            flags |= UPDATE;
        }
        if flags & ALARM == 0
            && after > before
            && next_alarm(vault, before).is_some_and(|alarm| alarm <= after)
        {
            flags |= ALARM;
        }
        if run.periods(now) != run.periods(run.seen) {
            flags |= PERIODIC;
        }
    }
    let run = vault.at(|s| &mut s.run);
    run.seen = now;
    run.flags = flags;
}

/// Drives the line and arms the timers as the registers ask for; the flags are up to date.
pub(crate) fn update(vault: &mut Vault<'_, RtcServer>, effects: &mut Effects<'_, Clock>) {
    let now = effects.now().0;
    let run = vault.run;
    let level = u8::from(run.b & run.flags & (PERIODIC | ALARM | UPDATE) != 0);
    let missing = if run.held() { 0 } else { run.b & !run.flags };
    let second = if missing & UPDATE != 0 {
        Some(run.when(run.seconds(now) + 1))
    } else if missing & ALARM != 0 {
        next_alarm(vault, run.seconds(now)).map(|alarm| run.when(alarm))
    } else {
        None
    };
    let period = if missing & PERIODIC != 0 {
        run.next_period(now)
    } else {
        None
    };
    if effects.is_crowded() {
        // A string instruction writes registers a thousand times in one activation: what follows from the last write is done later.
        if run.late == 0 {
            let run = vault.at(|s| &mut s.run);
            run.late = 1;
            run.armed[0] = now;
            effects.emit(DeviceEffect::Arm(SECOND, Ticks(now)));
        }
        return;
    }
    if level != run.raised {
        vault.at(|s| &mut s.run).raised = level;
        let signal = if level != 0 {
            Signal::Raise
        } else {
            Signal::Lower
        };
        effects.emit(DeviceEffect::Line(LineId::nth(run.line), signal));
    }
    if run.late == 0 {
        arm(vault, SECOND, second, effects);
    }
    arm(vault, PERIOD, period, effects);
}

/// Arms a timer unless it is armed for that time already. One that is no longer needed is left alone: it finds nothing to do.
fn arm(
    vault: &mut Vault<'_, RtcServer>,
    timer: TimerId,
    at: Option<u64>,
    effects: &mut Effects<'_, Clock>,
) {
    let place = usize::from(timer.number() & 1);
    if let Some(at) = at.filter(|at| vault.run.armed[place] != *at) {
        vault.at(|s| &mut s.run).armed[place] = at;
        effects.emit(DeviceEffect::Arm(timer, Ticks(at)));
    }
}

/// A timer has expired.
pub(crate) fn expired(
    vault: &mut Vault<'_, RtcServer>,
    timer: TimerId,
    effects: &mut Effects<'_, Clock>,
) {
    let run = vault.at(|s| &mut s.run);
    run.armed[usize::from(timer.number() & 1)] = 0;
    if timer == SECOND {
        run.late = 0;
    }
    settle(vault, effects.now().0);
    update(vault, effects);
}
