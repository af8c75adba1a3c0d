//! A serial port (16550A).

use serde::{Deserialize, Serialize};

use super::{Bytes, first_form};
use crate::role::console_mail::{INPUT_WINDOW, OUTPUT_BYTES};
use crate::units::Ticks;

/// Most characters that a port holds for the guest: a whole grant to the console on top of a FIFO that loopback has filled.
const INPUT: usize = 2 * INPUT_WINDOW as usize;

/// A serial port's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct SerialState {
    /// IER.
    pub interrupt_enable: u8,
    /// FCR: FIFO enable, DMA mode and trigger level.
    pub fifo_control: u8,
    /// LCR.
    pub line_control: u8,
    /// MCR.
    pub modem_control: u8,
    /// MSR: deltas since it was last read.
    pub modem_deltas: u8,
    /// LSR: errors since it was last read.
    pub line_errors: u8,
    /// SCR.
    pub scratch: u8,
    /// The divisor latch.
    pub divisor: u16,
    /// The transmitter's interrupt is pending, enabled or not.
    pub transmitter_pending: bool,
    /// The character time-out is.
    pub timeout_pending: bool,
    /// The interrupt line was last raised.
    pub raised: bool,
    /// Written by the guest and not mailed yet.
    pub output: Bytes<OUTPUT_BYTES>,
    /// When that is to be mailed at the latest, or the line to follow what was put off.
    pub sent_by: Option<Ticks>,
    /// Characters mailed that the console has not acknowledged.
    pub in_flight: u16,
    /// Received, and not read by the guest: in the FIFO, then on their way into it.
    pub input: Bytes<INPUT>,
    /// Characters that the console may still send.
    pub granted: u8,
    /// When a character last came or was read.
    pub touched: Ticks,
    /// When the console is to be told how much the guest has room for, if it begins to listen.
    pub opens: Option<Ticks>,
}
first_form!(SerialState);
