//! The guest's console on the host's first serial port.
//!
//! - [`device`]: how the 16550 is programmed.
//! - [`output`] and [`input`]: the two directions; what is mailed is in [`atoll_protocol::role::console_mail`].
//! - [`flush`]: requests to say when all output has been written.
//! - [`succession`]: the state for another server of the role, and from one.
//!
//! The option `base` is the device's first port (default 0x3f8), `peer` the name of the serial port's server (default `uart`).
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::console_mail::{OUTPUT, ROOM};
use atoll_protocol::role::{Console, DriverEvent, DriverReply, MailRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};

use crate::state::{Book, ConsoleState, RING, WAITING, Waiting};

pub mod device;
mod flush;
mod input;
mod output;
pub mod state;
mod succession;
#[cfg(test)]
mod tests;

/// The server.
#[derive(Debug)]
pub struct ConsoleServer;

impl Server for ConsoleServer {
    type Role = Console;
    type State = ConsoleState;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<ConsoleState, Refuse> {
        let base = setup.number("base").unwrap_or(Ok(0x3f8));
        let base = base
            .ok()
            .and_then(|base| u16::try_from(base).ok())
            .ok_or(Refuse::BadOption("base"))?;
        let uart = setup
            .peer(setup.option("peer").unwrap_or("uart"))
            .ok_or(Refuse::MissingPeer("uart"))?;
        let book = Book {
            millisecond: machine.tsc_khz,
            base,
            uart: uart.number(),
            ..Book::default()
        };
        Ok(ConsoleState {
            book,
            waiting: [Waiting::default(); WAITING],
            ring: [[0; 64]; RING / 64],
        })
    }

    fn export(state: &ConsoleState) -> Option<interchange::ConsoleState> {
        Some(succession::export(state))
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: interchange::ConsoleState,
        _: bool,
    ) -> Result<ConsoleState, Refuse> {
        succession::import(Self::start(machine, setup)?, &before)
    }

    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, Console>) {
        input::set_up(vault, effects);
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Console>) {
        input::take_over(vault, effects);
        output::take_over(vault, effects);
        flush::take_over(vault, effects);
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: MailRequest<'_>,
        effects: &mut Effects<'_, Console>,
    ) -> DriverReply {
        flush::ask(vault, request, effects)
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: DriverEvent<'_>,
        effects: &mut Effects<'_, Console>,
    ) {
        match event {
            DriverEvent::Mail(from, &[OUTPUT, ref bytes @ ..])
                if from.number() == vault.book.uart =>
            {
                output::append(vault, bytes, effects);
            }
            DriverEvent::Mail(from, &[ROOM, count]) if from.number() == vault.book.uart => {
                input::room(vault, count, effects)
            }
            DriverEvent::Filled(count) => {
                output::filled(vault, count, effects);
                flush::look(vault, effects);
            }
            DriverEvent::HostIrq(_) => input::interrupted(vault, effects),
            DriverEvent::Drained(bytes) => input::drained(vault, bytes, effects),
            DriverEvent::Timer(output::RETRY) => output::retry(vault, effects),
            DriverEvent::Timer(flush::SETTLE) => flush::look(vault, effects),
            DriverEvent::Timer(_) | DriverEvent::Mail(..) | DriverEvent::PortValue(_) => {}
            DriverEvent::Record(_) | DriverEvent::Answered(..) => {}
        }
    }
}
