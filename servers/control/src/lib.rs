//! The host tool's line into the machine, on the host's second serial port: postcard in COBS frames, each ended by a zero byte.
//!
//! What can be asked is in [`atoll_protocol::control`]. A list goes out record by record: the kernel is asked for the next one only
//! when the one before has been sent, and the next question is taken up only when the one before has been answered. Questions that come
//! meanwhile wait here, then in the device. What is not understood is answered by `End`.
//!
//! - [`mod@line`]: bytes to and from the device.
//! - [`questions`]: questions into queries, records into answers.
//! - [`succession`]: the state for another server of the role, and from one.
//!
//! The option `base` is the device's first port (default 0x2f8).
#![no_std]
#![forbid(unsafe_code)]

use atoll_console::device::{self, Trigger};
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::{Control, DriverEffect, DriverEvent, DriverReply, MailRequest};
use atoll_protocol::{MAIL_BYTES, interchange};
use atoll_sdk::{Effects, Refuse, Server, Vault};

use crate::state::{Book, ControlState, FRAME, INPUT, NOBODY};

mod line;
mod questions;
pub mod state;
mod succession;
#[cfg(test)]
mod tests;

/// The server.
#[derive(Debug)]
pub struct ControlServer;

impl Server for ControlServer {
    type Role = Control;
    type State = ControlState;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<ControlState, Refuse> {
        let base = setup.number("base").unwrap_or(Ok(0x2f8));
        let base = base
            .ok()
            .and_then(|base| u16::try_from(base).ok())
            .ok_or(Refuse::BadOption("base"))?;
        let supervisor = setup.peer("supervisor").map_or(NOBODY, |id| id.number());
        let book = Book {
            millisecond: machine.tsc_khz,
            base,
            supervisor,
            ..Book::default()
        };
        Ok(ControlState {
            book,
            order: [0; MAIL_BYTES],
            input: [0; INPUT],
            frame: [0; FRAME],
        })
    }

    fn export(state: &ControlState) -> Option<interchange::ControlState> {
        Some(succession::export(state))
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: interchange::ControlState,
        _: bool,
    ) -> Result<ControlState, Refuse> {
        succession::import(Self::start(machine, setup)?, &before)
    }

    fn started(vault: &mut Vault<'_, Self>, effects: &mut Effects<'_, Control>) {
        device::program(vault.book.base, Trigger::Fourteen, effects);
        device::listen(vault.book.base, effects);
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Control>) {
        device::confirm(vault.book.base, Trigger::Fourteen, effects);
        if vault.book.draining == 0 {
            device::listen(vault.book.base, effects);
        }
        // A device that was waited for may have had time to send meanwhile; if not, it is waited for again.
        vault.at(|s| &mut s.book).retrying = 0;
        questions::advance(vault, effects);
    }

    /// Nobody mails requests to this server.
    fn handle(
        _: &mut Vault<'_, Self>,
        request: MailRequest<'_>,
        effects: &mut Effects<'_, Control>,
    ) -> DriverReply {
        effects.emit(DriverEffect::Reply(request.ticket, &[]));
        DriverReply::Replied
    }

    fn event(
        vault: &mut Vault<'_, Self>,
        event: DriverEvent<'_>,
        effects: &mut Effects<'_, Control>,
    ) {
        match event {
            DriverEvent::HostIrq(_) => line::drain(vault, effects),
            DriverEvent::Drained(bytes) => {
                if line::drained(vault, bytes) {
                    line::drain(vault, effects);
                } else {
                    device::listen(vault.book.base, effects);
                }
                questions::advance(vault, effects);
            }
            DriverEvent::Filled(count) => {
                line::filled(vault, count, effects);
                questions::advance(vault, effects);
            }
            DriverEvent::Timer(line::RETRY) => {
                vault.at(|s| &mut s.book).retrying = 0;
                questions::advance(vault, effects);
            }
            DriverEvent::Record(bytes) => {
                questions::record(vault, bytes);
                questions::advance(vault, effects);
            }
            DriverEvent::Answered(_, bytes) => {
                questions::outcome(vault, bytes);
                questions::advance(vault, effects);
            }
            DriverEvent::Timer(_) | DriverEvent::Mail(..) | DriverEvent::PortValue(_) => {}
        }
    }
}
