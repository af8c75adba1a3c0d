//! Another 16550A serial port (National Semiconductor PC16550D data sheet): what `uart` does, from a state that has nothing in common with
//! that one's.
//!
//! - [`ring`]: both directions are rings under counters that only grow.
//! - [`state`]: the registers are a file of bytes; every interrupt is a bit of one byte, in the order of priority.
//! - [`traffic`]: characters, and mail to and from the console.
//! - [`alarm`]: everything that takes time shares one timer, which stands at the earliest of the moments.
//! - [`succession`]: the state for another server of the role, and from one.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use atoll_protocol::effect::Signal;
use atoll_protocol::interchange::SerialState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::console_mail::{INPUT, TAKEN};
use atoll_protocol::role::{PortRequest, Serial, SerialEffect, SerialEvent};
use atoll_protocol::units::LineId;
use atoll_sdk::{Effects, Refuse, Server, Vault};
use atoll_uart::registers::*;

use crate::state::{BREAKS, DELTAS, FILE, MODEM, READY, State, TIMEOUT};

mod alarm;
pub mod ring;
pub mod state;
mod succession;
#[cfg(test)]
mod tests;
mod traffic;

/// The server.
#[derive(Debug)]
pub struct RingServer;

impl Server for RingServer {
    type Role = Serial;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        let line = setup.line(0).ok_or(Refuse::MissingLine)?;
        let console = setup
            .peer("console")
            .ok_or(Refuse::MissingPeer("console"))?;
        Ok(State::new(machine, line, console))
    }

    fn export(state: &State) -> Option<SerialState> {
        Some(succession::export(state))
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: SerialState,
        _: bool,
    ) -> Result<State, Refuse> {
        succession::import(Self::start(machine, setup)?, &before)
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Serial>) {
        alarm::take_over(vault, effects);
        settle(vault, effects);
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        effects: &mut Effects<'_, Serial>,
    ) -> u32 {
        // What is behind the last register is nobody's.
        let places = (0..u32::from(request.size.min(4)))
            .map(|byte| 8 * byte)
            .zip(request.port & 7..=7);
        let value = match request.write {
            Some(value) => {
                places.for_each(|(shift, offset)| {
                    write(vault, offset, (value >> shift) as u8, effects)
                });
                0
            }
            None => places.fold(
                u32::MAX >> (32 - 8 * u32::from(request.size.clamp(1, 4))),
                |all, (shift, offset)| {
                    all & !(0xff << shift) | u32::from(read(vault, offset, effects)) << shift
                },
            ),
        };
        settle(vault, effects);
        value
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: SerialEvent<'_>,
        effects: &mut Effects<'_, Serial>,
    ) {
        match event {
            SerialEvent::Timer(_) => alarm::rings(vault, effects),
            SerialEvent::Mail(from, &[INPUT, ref bytes @ ..]) if from.number() == vault.console => {
                traffic::arrive(vault, bytes, effects)
            }
            SerialEvent::Mail(from, &[TAKEN, low, high]) if from.number() == vault.console => {
                traffic::taken(vault, u16::from_le_bytes([low, high]), effects);
            }
            SerialEvent::Mail(..) => {}
        }
        settle(vault, effects);
    }
}

/// Brings line and timer to where the registers want them; a line that changes too often in one answer follows with the timer.
fn settle(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    let level = u8::from(vault.wants_line());
    if level != vault.raised && !effects.is_crowded() {
        *vault.at(|s| &mut s.raised) = level;
        let signal = if level != 0 {
            Signal::Raise
        } else {
            Signal::Lower
        };
        effects.emit(SerialEffect::Line(LineId::nth(vault.line), signal));
    }
    alarm::set(vault, level != vault.raised, effects);
}

fn read(vault: &mut Vault<'_, RingServer>, offset: u16, effects: &mut Effects<'_, Serial>) -> u8 {
    match offset {
        _ if vault.is_latch(offset) => vault.latch.to_le_bytes()[usize::from(offset & 1)],
        0 => traffic::read(vault, effects),
        2 => {
            let which = vault.identification();
            if which == IIR_TRANSMIT {
                vault.at(|s| &mut s.causes).retain(!READY);
            }
            which | if vault.fifos() { IIR_FIFOS } else { 0 }
        }
        5 => {
            let status = vault.line_status();
            vault.at(|s| &mut s.causes).retain(!BREAKS);
            status
        }
        6 => {
            let status = vault.modem_lines() | vault.deltas;
            *vault.at(|s| &mut s.deltas) = 0;
            vault.at(|s| &mut s.causes).retain(!MODEM);
            status
        }
        // All others are read as they were written.
        _ => vault.file[usize::from(offset) % FILE],
    }
}

fn write(
    vault: &mut Vault<'_, RingServer>,
    offset: u16,
    value: u8,
    effects: &mut Effects<'_, Serial>,
) {
    match offset {
        _ if vault.is_latch(offset) => {
            let mut latch = vault.latch.to_le_bytes();
            latch[usize::from(offset & 1)] = value;
            *vault.at(|s| &mut s.latch) = u16::from_le_bytes(latch);
        }
        0 => traffic::write(vault, value, effects),
        1 => {
            let value = value & IER_MASK;
            if value & !vault.file[1] & IER_TRANSMIT != 0 && vault.is_ready() {
                vault.at(|s| &mut s.causes).set(READY);
            }
            set(vault, 1, value);
            alarm::listen(vault, effects);
        }
        2 => {
            let enabled = value & FCR_ENABLE != 0;
            if enabled != vault.fifos() || enabled && value & FCR_CLEAR_RECEIVE != 0 {
                traffic::clear(vault);
            }
            set(vault, 2, if enabled { value & FCR_KEPT } else { 0 });
            alarm::listen(vault, effects);
        }
        4 => {
            let before = vault.modem_lines();
            set(vault, 4, value & MCR_MASK);
            let after = vault.modem_lines();
            // Of the ring indicator only the end counts.
            let changed = (before ^ after) & !(after & MSR_RING);
            *vault.at(|s| &mut s.deltas) |= changed >> 4 & DELTAS;
            if vault.deltas != 0 {
                vault.at(|s| &mut s.causes).set(MODEM);
            }
            alarm::listen(vault, effects);
        }
        3 | 7 => set(vault, offset, value),
        // Line and modem status are not for writing.
        _ => {}
    }
}

fn set(vault: &mut Vault<'_, RingServer>, offset: u16, value: u8) {
    vault.at(|s| &mut s.file)[usize::from(offset) % FILE] = value;
}

/// The guest has read, or lost, what it could see: the character time-out is over.
fn untime(vault: &mut Vault<'_, RingServer>) {
    vault.at(|s| &mut s.causes).retain(!TIMEOUT);
}
