//! Power management: ACPI's PM1 registers and PM timer (ACPI 6.5 §4.8), and a PC's two old ways to be reset.
//!
//! No event ever happens here, so there is no interrupt either: where a guest waits for the PM timer's, another server cannot be followed.
//! Registers are accessed as a whole; any other access is as if nothing were there.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::interchange::PowerState;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Machine, Stop};
use atoll_sdk::protocol::role::{PortRequest, Power, PowerEffect};
use atoll_sdk::{Clock, Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

/// Ports: where the loader's ACPI tables say that they are.
const PM1_STATUS: u16 = 0x600;
const PM1_ENABLE: u16 = 0x602;
const PM1_CONTROL: u16 = 0x604;
const PM_TIMER: u16 = 0x608;
const RESET_CONTROL: u16 = 0xcf9;
const KEYBOARD: u16 = 0x64;

/// PM1 enable: an interrupt when the timer's highest bit changes.
const TIMER_EVENT: u16 = 1;
/// PM1 control: the machine is in ACPI mode.
const ACPI_MODE: u16 = 1;
/// PM1 control: fall asleep, as deeply as the bits below say; 0 is off.
const SLEEP: u16 = 1 << 13;
const SLEEP_TYPE: u16 = 7 << 10;
/// Reset control: do it when this rises.
const RESET: u8 = 1 << 2;
/// Keyboard controller: the command that resets, and the status of a controller that is not there.
const PULSE_RESET: u32 = 0xfe;
const ABSENT: u32 = 0xfd;
/// The timer's frequency, and its width.
const HERTZ: u64 = 3_579_545;
const TIMER_MASK: u64 = 0xff_ffff;

/// What survives a crash of the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// The counter's frequency.
    pub clock: Clock,
    /// Not ours: kept for a successor that has the timer's event.
    pub changes_seen: u64,
    /// PM1 enable.
    pub enable: u16,
    /// PM1 control.
    pub control: u16,
    /// Reset control.
    pub reset_control: u8,
    reserved: [u8; 3],
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = Power;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        Ok(State { clock: Clock::new(machine), control: ACPI_MODE, ..State::default() })
    }

    fn export(state: &State) -> Option<PowerState> {
        let State { enable, control, reset_control, changes_seen, .. } = *state;
        Some(PowerState { enable, control, reset_control, changes_seen, raised: false, keyboard_reads: 0 })
    }

    fn import(machine: &Machine, setup: &Setup<'_>, before: PowerState, force: bool) -> Result<State, Refuse> {
        let PowerState { enable, control, reset_control, changes_seen, .. } = before;
        if enable & TIMER_EVENT != 0 && !force {
            return Err(Refuse::TakesAway("the PM timer's interrupt"));
        }
        Ok(State { changes_seen, enable, control, reset_control, ..Self::start(machine, setup)? })
    }

    fn handle(vault: &mut Vault<'_, Self>, request: PortRequest, effects: &mut Effects<'_, Power>) -> u32 {
        match request.write {
            None => return read(vault, request, effects),
            Some(value) => write(vault.at(|state| state), request.port, value, effects),
        }
        0
    }
}

fn read(state: &State, request: PortRequest, effects: &Effects<'_, Power>) -> u32 {
    match (request.port, request.size) {
        (PM1_STATUS, 2) => 0,
        (PM1_ENABLE, 2) => state.enable.into(),
        (PM1_CONTROL, 2) => state.control.into(),
        (PM_TIMER, 4) => (state.clock.cycles(effects.now(), HERTZ) & TIMER_MASK) as u32,
        (RESET_CONTROL, 1) => state.reset_control.into(),
        (KEYBOARD, 1) => ABSENT,
        _ => request.all_ones(),
    }
}

fn write(state: &mut State, port: u16, value: u32, effects: &mut Effects<'_, Power>) {
    match port {
        PM1_ENABLE => state.enable = value as u16,
        PM1_CONTROL => {
            state.control = value as u16 & !SLEEP;
            if value as u16 & (SLEEP | SLEEP_TYPE) == SLEEP {
                stop(Stop::PowerOff, effects);
            }
        }
        RESET_CONTROL => {
            if value as u8 & !state.reset_control & RESET != 0 {
                stop(Stop::Reset, effects);
            }
            state.reset_control = value as u8 & !RESET;
        }
        KEYBOARD if value == PULSE_RESET => stop(Stop::Reset, effects),
        _ => {}
    }
}

/// A string instruction may say it a thousand times, and an answer has only so many effects.
fn stop(why: Stop, effects: &mut Effects<'_, Power>) {
    if !effects.is_crowded() {
        effects.emit(PowerEffect::Stop(why));
    }
}
