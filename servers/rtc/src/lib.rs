//! An MC146818 real-time clock with 128 bytes of CMOS RAM, as a PC has it behind ports 0x70 (index) and 0x71 (data).
//!
//! - [`calendar`] and [`format`]: seconds as a date, and a date as registers.
//! - [`state`]: how time runs.
//! - [`interrupts`]: flags, alarm and the interrupt line (line 0 of the set-up).
//! - [`setup`]: what a PC's firmware has written into the CMOS RAM.
//!
//! Time is the host's wall clock at the start plus what the time-stamp counter says; the guest may set it. The century is at location
//! 0x32 (the FADT's CENTURY). Not there: daylight saving, square wave, and other time bases than 32,768 Hz.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange::{Bytes, ClockState};
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::{Clock as ClockRole, DeviceEvent, PortRequest};
use atoll_protocol::units::Ticks;
use atoll_sdk::{Clock, Effects, Refuse, Server, Vault};

use crate::calendar::Date;
use crate::state::{
    ALARM, DIVIDER_RESET, HOURS_24, PENDING, PERIODIC, RtcState, Run, SET, UPDATE, UPDATING, VALID,
};

mod calendar;
mod format;
mod interrupts;
mod setup;
pub mod state;
#[cfg(test)]
mod tests;

/// The locations that show the time.
const TIME: [u8; 8] = [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32];

/// The server.
#[derive(Debug)]
pub struct RtcServer;

impl Server for RtcServer {
    type Role = ClockRole;
    type State = RtcState;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<RtcState, Refuse> {
        let line = setup.line(0).ok_or(Refuse::MissingLine)?.number();
        // As a BIOS leaves it: divider for 32,768 Hz, 1,024 Hz periodic rate (off), BCD, 24 hours.
        let (a, b) = (0x26, HOURS_24);
        let clock = Clock::new(machine);
        let run = Run {
            zero_seconds: machine.wall_seconds,
            clock,
            a,
            b,
            line,
            ..Run::default()
        };
        Ok(RtcState {
            run,
            ram: setup::ram(machine.memory),
        })
    }

    fn export(state: &RtcState) -> Option<ClockState> {
        let run = &state.run;
        Some(ClockState {
            index: run.index,
            a: run.a,
            b: run.b,
            flags: run.flags,
            seen: Ticks(run.seen),
            raised: run.raised != 0,
            seconds: run.zero_seconds,
            began: Ticks(run.zero),
            locations: Bytes::of(&state.ram),
        })
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: ClockState,
        _: bool,
    ) -> Result<RtcState, Refuse> {
        let RtcState { run, .. } = Self::start(machine, setup)?;
        let run = Run {
            index: before.index & 0x7f,
            a: before.a & !UPDATING,
            b: before.b,
            flags: before.flags & (PERIODIC | ALARM | UPDATE),
            seen: before.seen.0,
            raised: before.raised.into(),
            zero_seconds: before.seconds,
            zero: before.began.0,
            ..run
        };
        Ok(RtcState {
            run,
            ram: before.locations[..]
                .try_into()
                .map_err(|_| Refuse::BadState)?,
        })
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, ClockRole>) {
        // Timers that another server has armed may be armed still; they find nothing to do.
        let run = vault.at(|s| &mut s.run);
        (run.armed, run.late) = ([0; 2], 0);
        // What has passed meanwhile is taken notice of first: arming anew takes the place of an expiry that was not handled.
        interrupts::settle(vault, effects.now().0);
        interrupts::update(vault, effects);
    }

    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, ClockRole>) {
        let run = vault.at(|s| &mut s.run);
        run.zero = effects.now().0;
        run.seen = run.zero;
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        effects: &mut Effects<'_, ClockRole>,
    ) -> u32 {
        // A word written to the index port is index and data, as on the ISA bus; what is behind them is nobody's.
        let written = request.write.map(u32::to_le_bytes);
        let mut value = [0; 4];
        if written.is_none() {
            value
                .iter_mut()
                .take(usize::from(request.size))
                .for_each(|byte| *byte = 0xff);
        }
        let bytes = value.iter_mut().enumerate().take(usize::from(request.size));
        for ((place, byte), data) in bytes.zip(
            [false, true]
                .into_iter()
                .skip(usize::from(request.port & 1)),
        ) {
            match (written.and_then(|bytes| bytes.get(place).copied()), data) {
                (Some(byte), false) => vault.at(|s| &mut s.run).index = byte & 0x7f,
                (Some(byte), true) => write(vault, byte, effects),
                // The index cannot be read back.
                (None, false) => *byte = 0xff,
                (None, true) => *byte = read(vault, effects),
            }
        }
        u32::from_le_bytes(value)
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: DeviceEvent,
        effects: &mut Effects<'_, ClockRole>,
    ) {
        let DeviceEvent::Timer(timer) = event;
        interrupts::expired(vault, timer, effects);
    }
}

fn read(vault: &mut Vault<'_, RtcServer>, effects: &mut Effects<'_, ClockRole>) -> u8 {
    let now = effects.now().0;
    match vault.run.index {
        0x0a => vault.run.a | if vault.run.updating(now) { UPDATING } else { 0 },
        0x0b => vault.run.b,
        0x0c => {
            interrupts::settle(vault, now);
            let flags = vault.run.flags;
            let pending = if flags & vault.run.b != 0 { PENDING } else { 0 };
            vault.at(|s| &mut s.run).flags = 0;
            interrupts::update(vault, effects);
            flags | pending
        }
        0x0d => VALID,
        location => {
            let shown = if vault.run.held() {
                None
            } else {
                vault.show(location, Date::at(vault.run.seconds(now)))
            };
            shown
                .or(vault.ram.get(usize::from(location)).copied())
                .unwrap_or(0xff)
        }
    }
}

fn write(vault: &mut Vault<'_, RtcServer>, value: u8, effects: &mut Effects<'_, ClockRole>) {
    let now = effects.now().0;
    interrupts::settle(vault, now);
    match vault.run.index {
        0x0a => control(vault, value & !UPDATING, vault.run.b, now),
        // Setting the time takes the update interrupt's enable bit away (data sheet, register B).
        0x0b => control(
            vault,
            vault.run.a,
            if value & SET != 0 {
                value & !UPDATE
            } else {
                value
            },
            now,
        ),
        0x0c | 0x0d => return,
        location => {
            let live = TIME.contains(&location) && !vault.run.held();
            if live {
                hold(vault, now);
            }
            if let Some(byte) = vault.at(|s| &mut s.ram).get_mut(usize::from(location)) {
                *byte = value;
            }
            if live {
                let seconds = vault.stored().seconds();
                run_from(vault, seconds, now);
            }
        }
    }
    interrupts::update(vault, effects);
}

/// Writes registers A and B: the time may stop or go on by that.
fn control(vault: &mut Vault<'_, RtcServer>, a: u8, b: u8, now: u64) {
    let (held, was_reset) = (
        vault.run.held(),
        vault.run.a & DIVIDER_RESET == DIVIDER_RESET,
    );
    let holds = Run { a, b, ..vault.run }.held();
    if holds && !held {
        hold(vault, now);
    }
    let run = vault.at(|s| &mut s.run);
    (run.a, run.b) = (a, b);
    if held && !holds {
        let seconds = vault.stored().seconds();
        run_from(vault, seconds, now);
        if was_reset {
            // The first update comes half a second after the divider is released (data sheet, "Divider control").
            let run = vault.at(|s| &mut s.run);
            run.zero_seconds = seconds;
            run.zero = now.saturating_sub(run.second() / 2);
        }
        vault.at(|s| &mut s.run).seen = now;
    }
}

/// Puts the time that is shown into the locations, where it can be changed.
fn hold(vault: &mut Vault<'_, RtcServer>, now: u64) {
    let date = Date::at(vault.run.seconds(now));
    for location in TIME {
        let shown = vault.show(location, date);
        if let (Some(byte), Some(shown)) = (
            vault.at(|s| &mut s.ram).get_mut(usize::from(location)),
            shown,
        ) {
            *byte = shown;
        }
    }
}

/// Lets the time run from `seconds`. Seconds begin when they have begun before: setting the time does not touch the divider.
fn run_from(vault: &mut Vault<'_, RtcServer>, seconds: u64, now: u64) {
    let run = vault.at(|s| &mut s.run);
    let into = now.saturating_sub(run.zero) % run.second();
    run.zero_seconds = seconds;
    run.zero = now - into;
}
