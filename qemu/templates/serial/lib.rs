//! A serial port that transmits: the guest polls the line status and writes characters, which go to the console.
//!
//! Characters are gathered and mailed when the first of them has waited for [`LINGER_NANOSECONDS`]. No more are taken than there is room for,
//! and the line status says so. It has no interrupts and no input; servers/uart is a whole 16550A.
#![no_std]
#![forbid(unsafe_code)]

use atoll_sdk::protocol::interchange::{Bytes, SerialState};
use atoll_sdk::protocol::manifest::Setup;
use atoll_sdk::protocol::message::{Held, Machine};
use atoll_sdk::protocol::role::console_mail::{OUTPUT, OUTPUT_BYTES, OUTPUT_WINDOW, TAKEN};
use atoll_sdk::protocol::role::{PortRequest, Serial, SerialEffect, SerialEvent};
use atoll_sdk::protocol::units::{ServerId, Ticks, TimerId};
use atoll_sdk::{Clock, Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

/// Longest that a character waits for company.
const LINGER_NANOSECONDS: u64 = 100_000;
/// Sends what has been gathered.
const FLUSH: TimerId = TimerId(0);
/// Registers, as offsets from the first port.
const DATA: u16 = 0;
const LINE_CONTROL: u16 = 3;
const LINE_STATUS: u16 = 5;
/// Divisor latches stand in place of the data register.
const LATCH: u8 = 0x80;
/// The transmitter has room, and is empty.
const READY: u32 = 0x60;

/// What survives a crash of the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Ticks that a character may wait.
    pub linger: u64,
    /// First of the eight ports.
    pub base: u16,
    /// Bytes that the console has not written yet.
    pub in_flight: u16,
    /// The console.
    pub console: u8,
    /// The line control register.
    pub line_control: u8,
    /// Characters that are gathered.
    pub used: u8,
    reserved: u8,
    /// The mail that they are to be: its kind, then the characters.
    pub mail: [u8; 48],
}

/// The server.
pub struct MyServer;

impl Server for MyServer {
    type Role = Serial;
    type State = State;
    type Cache = ();

    fn export(state: &State) -> Option<SerialState> {
        let output = Bytes::of(state.mail.iter().skip(1).take(state.used.into()));
        Some(SerialState { line_control: state.line_control, output, in_flight: state.in_flight, ..SerialState::default() })
    }

    fn import(machine: &Machine, setup: &Setup<'_>, before: SerialState, force: bool) -> Result<State, Refuse> {
        if before.interrupt_enable != 0 && !force {
            return Err(Refuse::TakesAway("interrupts of its serial port"));
        }
        let mut state = Self::start(machine, setup)?;
        state.mail.iter_mut().skip(1).zip(before.output.iter()).for_each(|(to, from)| *to = *from);
        (state.used, state.in_flight) = (before.output.len() as u8, before.in_flight);
        state.line_control = before.line_control;
        Ok(state)
    }

    /// Timers are numbered as a server likes: those that are armed may be those of the server before.
    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Serial>) {
        flush(vault, effects);
    }

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<State, Refuse> {
        let console = setup.peer("console").ok_or(Refuse::MissingPeer("console"))?.0;
        let base = setup.number("base").unwrap_or(Ok(0x3f8)).ok().and_then(|base| base.try_into().ok());
        let base = base.ok_or(Refuse::BadOption("base"))?;
        let linger = Clock::new(machine).from_nanoseconds(LINGER_NANOSECONDS).0;
        let mut mail = [0; 48];
        mail[0] = OUTPUT;
        Ok(State { linger, base, in_flight: 0, console, line_control: 0, used: 0, reserved: 0, mail })
    }

    fn handle(vault: &mut Vault<'_, Self>, request: PortRequest, effects: &mut Effects<'_, Serial>) -> u32 {
        match (request.port.wrapping_sub(vault.base), request.write) {
            (DATA, Some(byte)) if vault.line_control & LATCH == 0 => transmit(vault, byte as u8, effects),
            (LINE_CONTROL, Some(value)) => *vault.at(|s| &mut s.line_control) = value as u8,
            (LINE_CONTROL, None) => return vault.line_control.into(),
            (LINE_STATUS, None) if usize::from(vault.used) < OUTPUT_BYTES => return READY,
            _ => {}
        }
        0
    }

    fn event(vault: &mut Vault<'_, Self>, event: SerialEvent<'_>, effects: &mut Effects<'_, Serial>) {
        match event {
            SerialEvent::Mail(_, &[TAKEN, low, high]) => {
                let taken = u16::from_le_bytes([low, high]);
                let in_flight = vault.at(|s| &mut s.in_flight);
                *in_flight = in_flight.saturating_sub(taken);
                flush(vault, effects);
            }
            SerialEvent::Timer(FLUSH) => flush(vault, effects),
            SerialEvent::Timer(_) | SerialEvent::Mail(..) => {}
        }
    }
}

/// Gathers a character. One for which there is no room is lost, as in hardware: the guest has not looked at the line status.
fn transmit(vault: &mut Vault<'_, MyServer>, byte: u8, effects: &mut Effects<'_, Serial>) {
    let state = vault.at(|s| s);
    if let Some(place) = state.mail.get_mut(usize::from(state.used) + 1) {
        *place = byte;
        state.used += 1;
        if state.used == 1 {
            effects.emit(SerialEffect::Arm(FLUSH, Ticks(effects.now().0.wrapping_add(state.linger))));
        }
    }
}

/// Mails what has been gathered, if the console has room; if not, it will say when it has.
fn flush(vault: &mut Vault<'_, MyServer>, effects: &mut Effects<'_, Serial>) {
    let used = u16::from(vault.used);
    if used != 0 && vault.in_flight + used <= OUTPUT_WINDOW {
        let mail = vault.mail;
        effects.emit(SerialEffect::Mail(ServerId(vault.console), mail.get(..=usize::from(used)).unwrap_or(&[])));
        let state = vault.at(|s| s);
        (state.used, state.in_flight) = (0, state.in_flight + used);
    }
}
