//! A 16550A serial port (National Semiconductor PC16550D data sheet), connected to the console driver.
//!
//! - [`state`]: registers and buffers, and which interrupt follows from them.
//! - [`transmit`] and [`receive`]: the two directions. What is mailed is in [`atoll_protocol::role::console_mail`].
//! - [`mod@line`]: the interrupt line.
//! - [`quick`]: what most accesses are.
//! - [`succession`]: the state for another server of the role, and from one.
//!
//! Characters take no time on their way; only what a driver can rely on is timed (the character time-out). Baud rate and frame format
//! are kept and otherwise ignored. There are no framing or parity errors and no breaks.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange::SerialState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::console_mail::{INPUT, TAKEN};
use atoll_protocol::role::{PortRequest, Serial, SerialEvent};
use atoll_sdk::{Clock, Effects, Refuse, Server, Vault};

use crate::registers::*;
use crate::state::{Input, Output, Settings, UartState};

mod line;
mod quick;
mod receive;
pub mod registers;
pub mod state;
mod succession;
#[cfg(test)]
mod tests;
mod transmit;

/// The server.
#[derive(Debug)]
pub struct UartServer;

impl Server for UartServer {
    type Role = Serial;
    type State = UartState;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<UartState, Refuse> {
        let line = setup.line(0).ok_or(Refuse::MissingLine)?;
        let console = setup
            .peer("console")
            .ok_or(Refuse::MissingPeer("console"))?;
        let clock = Clock::new(machine);
        let linger = clock.from_nanoseconds(transmit::LINGER_NANOSECONDS).0;
        let set = Settings {
            line: line.number(),
            console: console.number(),
            clock,
            linger,
            divisor: [1, 0],
            ..Settings::default()
        };
        Ok(UartState {
            set,
            out: Output::EMPTY,
            input: Input::default(),
        })
    }

    fn export(state: &UartState) -> Option<SerialState> {
        Some(succession::export(state))
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: SerialState,
        _: bool,
    ) -> Result<UartState, Refuse> {
        succession::import(Self::start(machine, setup)?, &before)
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Serial>) {
        transmit::rearm(vault, effects);
        receive::rearm(vault, effects);
        line::update(vault, effects);
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        _: &mut Effects<'_, Serial>,
    ) -> Option<u32> {
        quick::access(vault, request)
    }

    /// A wide access is as many narrow ones, as on the ISA bus. Those behind the last register are nobody's.
    fn handle(
        vault: &mut Vault<'_, Self>,
        request: PortRequest,
        effects: &mut Effects<'_, Serial>,
    ) -> u32 {
        let written = request.write.map(u32::to_le_bytes);
        let mut value = [0; 4];
        if written.is_none() {
            value
                .iter_mut()
                .take(usize::from(request.size))
                .for_each(|byte| *byte = 0xff);
        }
        let first = request.port & LAST;
        for ((place, byte), offset) in value
            .iter_mut()
            .enumerate()
            .take(usize::from(request.size))
            .zip(first..=LAST)
        {
            match written {
                Some(bytes) => write(
                    vault,
                    offset,
                    bytes.get(place).copied().unwrap_or(0),
                    effects,
                ),
                None => *byte = read(vault, offset, effects),
            }
        }
        u32::from_le_bytes(value)
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: SerialEvent<'_>,
        effects: &mut Effects<'_, Serial>,
    ) {
        match event {
            SerialEvent::Timer(transmit::FLUSH) => transmit::flush(vault, effects),
            SerialEvent::Timer(receive::TIMEOUT) => receive::time_out(vault, effects),
            SerialEvent::Timer(receive::OPEN) => receive::opened(vault, effects),
            SerialEvent::Mail(from, &[INPUT, ref bytes @ ..])
                if from.number() == vault.set.console =>
            {
                receive::arrive(vault, bytes, effects);
            }
            SerialEvent::Mail(from, &[TAKEN, low, high]) if from.number() == vault.set.console => {
                transmit::taken(vault, u16::from_le_bytes([low, high]), effects);
            }
            SerialEvent::Timer(_) | SerialEvent::Mail(..) => {}
        }
    }
}

/// The last register's number.
const LAST: u16 = 7;

/// The line status register; reading it clears the errors.
fn line_status(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) -> u8 {
    let status = vault.line_status();
    if vault.input.errors != 0 {
        vault.at(|s| &mut s.input).errors = 0;
        line::update(vault, effects);
    }
    status
}

fn read(vault: &mut Vault<'_, UartServer>, offset: u16, effects: &mut Effects<'_, Serial>) -> u8 {
    let divisor = vault.set.lcr & LCR_DIVISOR != 0;
    match offset {
        0 if divisor => vault.set.divisor[0],
        1 if divisor => vault.set.divisor[1],
        0 => receive::read(vault, effects),
        1 => vault.set.ier,
        2 => {
            let which = vault.interrupt();
            if which == IIR_TRANSMIT {
                vault.at(|s| &mut s.out).pending = 0;
                line::update(vault, effects);
            }
            which
                | if vault.set.fcr & FCR_ENABLE != 0 {
                    IIR_FIFOS
                } else {
                    0
                }
        }
        3 => vault.set.lcr,
        4 => vault.set.mcr,
        5 => line_status(vault, effects),
        6 => {
            let value = vault.set.modem() | vault.set.deltas;
            if vault.set.deltas != 0 {
                vault.at(|s| &mut s.set).deltas = 0;
                line::update(vault, effects);
            }
            value
        }
        _ => vault.set.scr,
    }
}

fn write(
    vault: &mut Vault<'_, UartServer>,
    offset: u16,
    value: u8,
    effects: &mut Effects<'_, Serial>,
) {
    let divisor = vault.set.lcr & LCR_DIVISOR != 0;
    match offset {
        0 if divisor => vault.at(|s| &mut s.set).divisor[0] = value,
        1 if divisor => vault.at(|s| &mut s.set).divisor[1] = value,
        0 => transmit::write(vault, value, effects),
        1 => interrupt_enable(vault, value & IER_MASK, effects),
        2 => fifo_control(vault, value, effects),
        3 => vault.at(|s| &mut s.set).lcr = value,
        4 => modem_control(vault, value & MCR_MASK, effects),
        7 => vault.at(|s| &mut s.set).scr = value,
        // Line and modem status: a factory test, not for use (data sheet §8.4).
        _ => {}
    }
}

fn interrupt_enable(
    vault: &mut Vault<'_, UartServer>,
    value: u8,
    effects: &mut Effects<'_, Serial>,
) {
    let rising = value & !vault.set.ier;
    vault.at(|s| &mut s.set).ier = value;
    // Enabling the transmitter's interrupt while it is empty raises it: drivers start their output by that.
    if rising & IER_TRANSMIT != 0 && vault.out.ready() {
        vault.at(|s| &mut s.out).pending = 1;
    }
    receive::open(vault, effects);
    line::update(vault, effects);
}

fn fifo_control(vault: &mut Vault<'_, UartServer>, value: u8, effects: &mut Effects<'_, Serial>) {
    let switched = (value ^ vault.set.fcr) & FCR_ENABLE != 0;
    // Without the enable bit in the same write, the others are not programmed (data sheet §8.5).
    let enabled = value & FCR_ENABLE != 0;
    if switched || (enabled && value & FCR_CLEAR_RECEIVE != 0) {
        receive::clear(vault, effects);
    }
    vault.at(|s| &mut s.set).fcr = if enabled { value & FCR_KEPT } else { 0 };
    receive::open(vault, effects);
    line::update(vault, effects);
}

fn modem_control(vault: &mut Vault<'_, UartServer>, value: u8, effects: &mut Effects<'_, Serial>) {
    let before = vault.set.modem();
    let set = vault.at(|s| &mut s.set);
    set.mcr = value;
    let changed = before ^ set.modem();
    // The ring indicator's delta is set by its trailing edge only (data sheet §8.8).
    let ring_ended = changed & before & MSR_RING;
    set.deltas |= ((changed & !MSR_RING) | ring_ended) >> 4;
    receive::open(vault, effects);
    line::update(vault, effects);
}
