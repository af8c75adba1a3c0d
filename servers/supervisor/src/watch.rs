//! What is done about faults: restart at once, then after a pause that doubles, then give up.
//!
//! Attempts are counted per message: a server that gets past the message at which it was faulted begins at one again. Beside that they are
//! counted per minute ([`Storm`]), for each slot: one that fails at every second message comes to the same end. So a crash loop is slow and
//! comes to an end, and a fault now and then costs nothing but itself. A server that takes another's place begins with none.
//!
//! A fault that somebody asked for does not count. One that an experiment has injected counts for its message, so that a fallback can be
//! tried out, but not per minute: how many there are is the experiment's choice.

use atoll_protocol::SERVERS;
use atoll_protocol::effect::Supervise;
use atoll_protocol::fault::{FaultReport, Reason};
use atoll_protocol::manifest::Restart;
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::storm::{Storm, Weather};
use atoll_protocol::units::{ServerId, Ticks, TimerId};
use atoll_sdk::{Effects, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{SupervisorServer, fallback, give_up};

/// A pause between restarts is over.
pub(crate) const PAUSE: TimerId = TimerId::nth(0);
/// How long a server waits for the scratch slot, in milliseconds.
const BUSY: u64 = 10;
/// Longest pause, as a power of two in milliseconds: a second.
const LONGEST: u32 = 10;

/// What is known of one server's faults.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Watch {
    /// Messages that it had handled at its last fault.
    handled: u64,
    /// When its pause is over; 0 if it has none.
    due: u64,
    /// Restarts over that message.
    attempts: u8,
    /// 1 if it was given up.
    given_up: u8,
    /// Restarts over one message that the manifest allows.
    allowed: u8,
    /// How far it has fallen back over that message: one of [`Stage`]'s.
    stage: u8,
    /// 1 if its pause is not for a restart but for the next step of its fallback.
    steps: u8,
    /// Faults that count per minute: with `since` its [`Storm`].
    level: u8,
    /// Faults in a minute that the manifest allows.
    per_minute: u8,
    /// 1 if it has fallen back for such a storm, and that is not long ago: then it falls back further, not again.
    stormy: u8,
    /// Up to when these have leaked away.
    since: u64,
}

/// How far a server has fallen back.
pub(crate) struct Stage;

impl Stage {
    /// Not at all: it is as it was made, or somebody has swapped it.
    pub(crate) const OWN: u8 = 0;
    /// The alternative was to go on with its state.
    pub(crate) const WITH_STATE: u8 = 1;
    /// The alternative was to begin anew.
    pub(crate) const RESET: u8 = 2;
}

/// All servers' faults, by number.
pub(crate) type Watches = [Watch; SERVERS];

/// Remembers how often the manifest lets a server be restarted: a restart then costs no look into the bundle.
pub(crate) fn allow(vault: &mut Vault<'_, SupervisorServer>, slot: u8, policy: Restart) {
    if let Some(watch) = vault
        .at(|state| &mut state.watches)
        .get_mut(usize::from(slot))
    {
        (watch.allowed, watch.per_minute) = (policy.attempts, policy.per_minute);
    }
}

/// Restarts a faulted server, now or after a pause; false if its policy has come to its end.
pub(crate) fn restart(
    vault: &mut Vault<'_, SupervisorServer>,
    report: &FaultReport,
    effects: &mut Effects<'_, Supervisor>,
) -> bool {
    let (id, now, millisecond) = (report.server, effects.now(), vault.progress.millisecond);
    let Some(watch) = vault.at(|state| &mut state.watches).get_mut(id.index()) else {
        return false;
    };
    let mut pause = 0;
    if report.reason != Reason::Killed {
        // The message that says that it was restarted counts as handled, too; so do those of a succession.
        let (known, others) = if watch.stage == Stage::OWN {
            (watch.attempts > 0, 1)
        } else {
            (true, 4)
        };
        let same = known && report.handled <= watch.handled.saturating_add(others);
        if !same && (watch.stormy == 0 || watch.storm().is_over(now, millisecond)) {
            (watch.stage, watch.stormy) = (Stage::OWN, 0);
        }
        watch.attempts = if same {
            watch.attempts.saturating_add(1)
        } else {
            1
        };
        watch.handled = report.handled;
        if watch.attempts > watch.allowed {
            return false;
        }
        match if report.injected {
            Weather::Fair
        } else {
            watch.weather(now, millisecond)
        } {
            Weather::Storm => {
                (watch.level, watch.stormy) = (0, 1);
                let often = watch.per_minute;
                effects.log(format_args!(
                    "server {}: more than {often} restarts in a minute are too many",
                    id.number()
                ));
                return false;
            }
            Weather::Gusty(milliseconds) => pause = milliseconds,
            Weather::Fair => {}
        }
        if let Some(doubled) = u32::from(watch.attempts).checked_sub(2) {
            pause = pause.max(1 << doubled.min(LONGEST));
        }
    }
    if pause == 0 {
        effects.emit(SupervisorEffect::Supervise(Supervise::Restart(id)));
        return true;
    }
    watch.due = now.after(Ticks(millisecond.saturating_mul(pause))).0.max(1);
    arm(vault, effects);
    true
}

impl Watch {
    fn storm(&self) -> Storm {
        Storm {
            since: Ticks(self.since),
            level: self.level,
        }
    }

    /// A fault that counts per minute.
    fn weather(&mut self, now: Ticks, millisecond: u64) -> Weather {
        let mut storm = self.storm();
        let weather = storm.fault(now, self.per_minute, millisecond);
        (self.since, self.level) = (storm.since.0, storm.level);
        weather
    }
}

/// How far a server has fallen back.
pub(crate) fn stage(vault: &Vault<'_, SupervisorServer>, id: ServerId) -> u8 {
    vault
        .watches
        .get(id.index())
        .map_or(Stage::OWN, |watch| watch.stage)
}

/// It falls back so far.
pub(crate) fn reach(vault: &mut Vault<'_, SupervisorServer>, id: ServerId, stage: u8) {
    if let Some(watch) = vault.at(|state| &mut state.watches).get_mut(id.index()) {
        watch.stage = stage;
    }
}

/// Another server is in its place and has all attempts; one that was put there by order has a fallback, too.
pub(crate) fn replaced(vault: &mut Vault<'_, SupervisorServer>, id: ServerId, by_order: bool) {
    // Its own line only: the guest is waiting.
    let watch = vault.at(|state| &mut state.watches[id.index()]);
    (watch.attempts, watch.level) = (0, 0);
    if by_order {
        (watch.stage, watch.stormy) = (Stage::OWN, 0);
    }
}

/// The next step of its fallback is done a little later.
pub(crate) fn wait(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    effects: &mut Effects<'_, Supervisor>,
) {
    let due = effects
        .now()
        .after(Ticks(vault.progress.millisecond * BUSY))
        .0
        .max(1);
    if let Some(watch) = vault.at(|state| &mut state.watches).get_mut(id.index()) {
        (watch.due, watch.steps) = (due, 1);
    }
    arm(vault, effects);
}

/// Goes on with those whose pause is over.
pub(crate) fn pause_over(
    vault: &mut Vault<'_, SupervisorServer>,
    effects: &mut Effects<'_, Supervisor>,
) {
    let now = effects.now().0;
    for id in 0..SERVERS as u8 {
        let due = |watch: &Watch| watch.due != 0 && watch.due <= now;
        if vault.watches.get(usize::from(id)).is_some_and(due)
            && let Some(watch) = vault
                .at(|state| &mut state.watches)
                .get_mut(usize::from(id))
        {
            watch.due = 0;
            if core::mem::take(&mut watch.steps) == 0 {
                effects.emit(SupervisorEffect::Supervise(Supervise::Restart(
                    ServerId::nth(id),
                )));
            } else if !fallback::step(vault, ServerId::nth(id), true, effects) {
                give_up(vault, ServerId::nth(id), effects);
            }
        }
    }
    arm(vault, effects);
}

/// Gives a server up: its role's fallbacks answer from now on.
pub(crate) fn quarantine(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    effects: &mut Effects<'_, Supervisor>,
) {
    if let Some(watch) = vault.at(|state| &mut state.watches).get_mut(id.index()) {
        watch.given_up = 1;
    }
    effects
        .log("restarts do not help it: what its role declares as the fallback answers from now on");
    effects.emit(SupervisorEffect::Supervise(Supervise::Quarantine(id)));
}

/// Whether a server is neither given up nor in a pause.
pub(crate) fn is_in_service(vault: &Vault<'_, SupervisorServer>, id: ServerId) -> bool {
    vault
        .watches
        .get(id.index())
        .is_some_and(|watch| watch.given_up == 0 && watch.due == 0)
}

fn arm(vault: &mut Vault<'_, SupervisorServer>, effects: &mut Effects<'_, Supervisor>) {
    if let Some(due) = vault
        .watches
        .iter()
        .map(|watch| watch.due)
        .filter(|due| *due != 0)
        .min()
    {
        effects.emit(SupervisorEffect::Arm(PAUSE, Ticks(due)));
    }
}
