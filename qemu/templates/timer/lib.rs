//! A timer behind one port: a byte written to it is a period in milliseconds (0 stops it), at the end of each the interrupt line has an
//! edge; a read tells how many periods have ended, modulo 256.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::effect::Signal;
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::Machine;
use atoll_sdk::protocol::role::{DeviceEffect, DeviceEvent, PortRequest, Timer as MyRole};
use atoll_sdk::protocol::units::{LineId, Ticks, TimerId};
use atoll_sdk::{Clock, Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

const TICK: TimerId = TimerId(0);

/// What survives a crash of the server; the armed timer does, too: it is the kernel's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// The counter's frequency.
    pub clock: Clock,
    /// When the period ends, in ticks.
    pub end: u64,
    /// The period, in ticks; 0 if the timer is stopped.
    pub period: u64,
    /// Periods that have ended.
    pub count: u32,
    /// The interrupt line.
    pub line: u8,
    reserved: [u8; 3],
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = MyRole;
    type State = State;
    type Cache = ();

    atoll_sdk::forgetful!();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        let line = setup.line(0).ok_or(Refuse::MissingLine)?.0;
        Ok(State { clock: Clock::new(machine), line, ..State::default() })
    }

    fn handle(vault: &mut Vault<'_, Self>, request: PortRequest, effects: &mut Effects<'_, MyRole>) -> u32 {
        let Some(milliseconds) = request.write else { return vault.count & 0xff };
        let period = vault.clock.from_nanoseconds(u64::from(milliseconds & 0xff) * 1_000_000).0;
        let end = effects.now().0.wrapping_add(period);
        let state = vault.at(|s| s);
        (state.period, state.end) = (period, end);
        effects.emit(if period == 0 { DeviceEffect::Disarm(TICK) } else { DeviceEffect::Arm(TICK, Ticks(end)) });
        0
    }

    fn event(vault: &mut Vault<'_, Self>, _: DeviceEvent, effects: &mut Effects<'_, MyRole>) {
        if vault.period == 0 {
            return;
        }
        let state = vault.at(|s| s);
        state.count = state.count.wrapping_add(1);
        // From the end of the last period, not from now: periods that are noticed late do not add up.
        state.end = state.end.wrapping_add(state.period);
        effects.emit(DeviceEffect::Line(LineId(state.line), Signal::Pulse));
        effects.emit(DeviceEffect::Arm(TICK, Ticks(state.end)));
    }
}
