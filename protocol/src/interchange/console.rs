//! The guest's console on the host.

use serde::{Deserialize, Serialize};

use super::{Bytes, first_form};
use crate::role::console_mail::{INPUT_WINDOW, OUTPUT_WINDOW};
use crate::units::{TicketId, Ticks};

/// A console driver's state. The device is as the driver has left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ConsoleState {
    /// Output that the device has not taken, as far as is known.
    pub output: Bytes<{ OUTPUT_WINDOW as usize }>,
    /// How much of that a `Fill` has been given whose result is still to come.
    pub filling: u16,
    /// Bytes written that the serial port has not been told of.
    pub untold: u16,
    /// Bytes that the serial port has room for.
    pub room: u8,
    /// Bytes asked of a `Drain` whose result is still to come.
    pub draining: u8,
    /// Input for which there was no room.
    pub early: Bytes<{ INPUT_WINDOW as usize }>,
    /// Who waits for all output to be written.
    pub waiting: [Option<WaitingState>; 4],
}
first_form!(ConsoleState);

/// A request that is answered when all output has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct WaitingState {
    /// Its ticket.
    pub ticket: TicketId,
    /// When it came.
    pub since: Ticks,
}
