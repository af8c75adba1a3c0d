//! An 8254 interval timer, and port 0x61 with its speaker gate.
//!
//! Counter 0 raises an interrupt line with every rising edge of its output; counter 1 once refreshed memory and shows only as the toggling
//! bit of port 0x61; counter 2 is gated by port 0x61 and read back there: Linux times the CPU by it.
//!
//! A counter is a function of time ([`channel`]), and time is counted in cycles of the input clock that follow from the time-stamp counter
//! alone ([`cycles`]). The only thing that happens by itself is the interrupt.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod channel;
pub mod cycles;
#[cfg(test)]
mod tests;

use atoll_protocol::effect::Signal;
use atoll_protocol::interchange::TimerState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::{DeviceEffect, DeviceEvent, PortRequest, Timer};
use atoll_protocol::units::{LineId, Ticks, TimerId};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use channel::Channel;
use cycles::{Cycles, TSC_KHZ_LIMIT};

const COMMAND: u16 = 0x43;
const CONTROL_B: u16 = 0x61;
/// Cycles between two refreshes as a PC's firmware sets them, about 15 microseconds.
const REFRESH: u64 = 18;
/// Interrupts closer to each other than this many cycles (20 microseconds) become fewer, so that a guest cannot keep its host busy.
const CLOSEST: u64 = 24;
/// Expiry of counter 0.
const TIMER: TimerId = TimerId::nth(0);

/// The server.
#[derive(Debug)]
pub struct PitServer;

/// All its state.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// The counters.
    pub channels: [Channel; 3],
    /// The cycle at which counter 0's output rises next; 0 if it does not.
    pub rise: u64,
    /// The input clock.
    pub cycles: Cycles,
    /// The line of counter 0's output.
    pub line: u8,
    /// Port 0x61: what was written to bits 0 to 3.
    pub control: u8,
    reserved: [u8; 46],
}

const _: () = assert!(size_of::<Channel>() == 64);

impl Server for PitServer {
    type Role = Timer;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        if !(2_000..TSC_KHZ_LIMIT).contains(&machine.tsc_khz) {
            return Err(Refuse::Machine(
                "a time-stamp counter between 2 MHz and 33 GHz",
            ));
        }
        Ok(State {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            rise: 0,
            cycles: Cycles::new(machine.tsc_khz),
            line: setup.line(0).ok_or(Refuse::MissingLine)?.number(),
            control: 0,
            reserved: [0; 46],
        })
    }

    fn export(state: &State) -> Option<TimerState> {
        let counters = state.channels.map(|channel| channel.export());
        Some(TimerState {
            counters,
            rises: (state.rise != 0).then_some(state.rise),
            port_b: state.control,
        })
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: TimerState,
        _: bool,
    ) -> Result<State, Refuse> {
        let mut state = Self::start(machine, setup)?;
        for (channel, before) in state.channels.iter_mut().zip(&before.counters) {
            *channel = Channel::import(before).ok_or(Refuse::BadState)?;
        }
        state.rise = before.rises.unwrap_or(0);
        state.control = before.port_b & 0x0f;
        Ok(state)
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Timer>) {
        effects.emit(match vault.rise {
            0 => DeviceEffect::Disarm(TIMER),
            rise => DeviceEffect::Arm(TIMER, Ticks(vault.cycles.tick(rise))),
        });
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        effects: &mut Effects<'_, Timer>,
    ) -> u32 {
        let now = vault.cycles.at(effects.now().0);
        let ports = (0..u32::from(request.size.min(4)))
            .map(|byte| (byte * 8, request.port.wrapping_add(byte as u16)));
        match request.write {
            Some(value) => {
                for (shift, port) in ports {
                    write(vault, port, (value >> shift) as u8, now, effects);
                }
                0
            }
            None => ports.fold(0, |all, (shift, port)| {
                all | u32::from(read(vault, port, now)) << shift
            }),
        }
    }

    fn event(vault: &mut Vault<'_, Self>, event: DeviceEvent, effects: &mut Effects<'_, Timer>) {
        let DeviceEvent::Timer(TIMER) = event else {
            return;
        };
        let now = vault.cycles.at(effects.now().0);
        if vault.rise != 0 && !risen(vault, now, effects) {
            // From an arming that has been replaced meanwhile. Arming once more costs nothing and cannot lose an edge.
            let at = vault.cycles.tick(vault.rise);
            return effects.emit(DeviceEffect::Arm(TIMER, Ticks(at)));
        }
        vault.at(|state| &mut state.channels[0]).catch_up(now);
        schedule(vault, now, effects);
    }
}

/// Raises the interrupt if counter 0's output has risen; whether it has.
fn risen(vault: &mut Vault<'_, PitServer>, now: u64, effects: &mut Effects<'_, Timer>) -> bool {
    if vault.rise == 0 || now < vault.rise {
        return false;
    }
    *vault.at(|state| &mut state.rise) = 0;
    effects.emit(DeviceEffect::Line(LineId::nth(vault.line), Signal::Pulse));
    true
}

/// Arms the timer for the next rise of counter 0's output.
fn schedule(vault: &mut Vault<'_, PitServer>, now: u64, effects: &mut Effects<'_, Timer>) {
    let channel = &vault.channels[0];
    let mut rise = channel.next_rise(now).unwrap_or(0);
    if rise != 0 && rise < now + CLOSEST {
        rise = channel.next_rise(now + CLOSEST - 1).unwrap_or(rise);
    }
    let before = vault.rise;
    if rise == before {
        return;
    }
    *vault.at(|state| &mut state.rise) = rise;
    effects.emit(match rise {
        0 => DeviceEffect::Disarm(TIMER),
        _ => DeviceEffect::Arm(TIMER, Ticks(vault.cycles.tick(rise))),
    });
}

fn read(vault: &mut Vault<'_, PitServer>, port: u16, now: u64) -> u8 {
    match port {
        0x40..COMMAND => vault
            .at(|state| &mut state.channels[usize::from(port & 3) % 3])
            .read(now),
        CONTROL_B => {
            let mut counter = vault.channels[2];
            counter.catch_up(now);
            vault.control | ((now / REFRESH) as u8 & 1) << 4 | u8::from(counter.output(now)) << 5
        }
        _ => 0xff,
    }
}

fn write(
    vault: &mut Vault<'_, PitServer>,
    port: u16,
    value: u8,
    now: u64,
    effects: &mut Effects<'_, Timer>,
) {
    match port {
        0x40..COMMAND => {
            let index = usize::from(port & 3) % 3;
            if index == 0 {
                risen(vault, now, effects);
            }
            vault
                .at(|state| &mut state.channels[index])
                .write(value, now);
            if index == 0 {
                schedule(vault, now, effects);
            }
        }
        COMMAND => command(vault, value, now, effects),
        CONTROL_B => {
            *vault.at(|state| &mut state.control) = value & 0x0f;
            vault
                .at(|state| &mut state.channels[2])
                .set_gate(value & 1 != 0, now);
        }
        _ => {}
    }
}

/// The control register: a control word for one counter, or a read-back of several.
fn command(vault: &mut Vault<'_, PitServer>, word: u8, now: u64, effects: &mut Effects<'_, Timer>) {
    match word >> 6 {
        3 => {
            for index in (0..3).filter(|index| word >> (index + 1) & 1 != 0) {
                let channel = vault.at(|state| &mut state.channels[index]);
                if word & 0x20 == 0 {
                    channel.latch_count(now);
                }
                if word & 0x10 == 0 {
                    channel.latch_status(now);
                }
            }
        }
        index => {
            if index == 0 {
                risen(vault, now, effects);
            }
            vault
                .at(|state| &mut state.channels[usize::from(index) % 3])
                .control(word, now);
            if index == 0 {
                schedule(vault, now, effects);
            }
        }
    }
}
