//! The end: what the console still holds is written out, then the host ends with a code that says why.

use atoll_protocol::effect::Supervise;
use atoll_protocol::message::Stop;
use atoll_protocol::role::{Supervisor, SupervisorEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Vault};

use crate::trouble::Trouble;
use crate::{Progress, SupervisorServer};

/// Token of the request to the console.
pub(crate) const FLUSH: u32 = 1;
/// Exit code for a bundle that no machine can be built from.
const BROKEN: u8 = 20;

/// The exit code for each end of a machine.
pub(crate) fn code(why: Stop) -> u8 {
    match why {
        Stop::PowerOff => 16,
        Stop::Reset => 17,
        Stop::Crash => 18,
        Stop::ServerFault => 19,
        Stop::Refused => 21,
    }
}

/// Ends the host.
pub(crate) fn now(code: u8, effects: &mut Effects<'_, Supervisor>) {
    effects.emit(SupervisorEffect::Supervise(Supervise::Exit(code)));
}

/// Ends the host after the console has written out what it has; at once if there is no console that could.
pub(crate) fn after_flush(
    vault: &mut Vault<'_, SupervisorServer>,
    code: u8,
    effects: &mut Effects<'_, Supervisor>,
) {
    // While building, `server` is the one that has not started yet.
    let started = vault.progress.phase != Progress::BUILDING
        || vault.progress.console < vault.progress.server;
    let console = vault.progress.console;
    let state = vault.at(|state| &mut state.progress);
    state.phase = Progress::LEAVING;
    state.code = code;
    if console != 0 && started {
        effects.emit(SupervisorEffect::Request(
            ServerId::nth(console),
            FLUSH,
            b"flush",
        ));
    } else {
        now(code, effects);
    }
}

/// The bundle is at fault: says so and ends the host.
pub(crate) fn broken(
    vault: &mut Vault<'_, SupervisorServer>,
    trouble: Trouble<'_>,
    effects: &mut Effects<'_, Supervisor>,
) {
    *vault.at(|state| &mut state.progress.phase) = Progress::LEAVING;
    effects.log(format_args!("cannot build the machine: {trouble}"));
    now(BROKEN, effects);
}
