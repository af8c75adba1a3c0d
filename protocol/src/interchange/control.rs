//! The host tool's line into the machine.

use serde::{Deserialize, Serialize};

use super::{Bytes, first_form};

/// What is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Question {
    /// [`Ask::Servers`](crate::control::Ask::Servers).
    Servers,
    /// [`Ask::Exits`](crate::control::Ask::Exits).
    Exits,
    /// [`Ask::Machine`](crate::control::Ask::Machine).
    Machine,
    /// [`Ask::Order`](crate::control::Ask::Order).
    Order,
    /// [`Ask::Dump`](crate::control::Ask::Dump).
    Dump,
}

/// A control driver's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ControlState {
    /// The question that is being answered.
    pub question: Option<Question>,
    /// Index of the next record.
    pub next: u8,
    /// A query or an order is under way, and its result still to come.
    pub asked: bool,
    /// Whom the dump is about.
    pub target: u8,
    /// The order, as the supervisor gets it.
    pub order: Bytes<256>,
    /// What has come and is not understood yet.
    pub input: Bytes<256>,
    /// The rest of a frame that was too long is being skipped.
    pub skipping: bool,
    /// Reading has stopped for want of room.
    pub stalled: bool,
    /// Bytes asked of a `Drain` whose result is still to come.
    pub draining: u8,
    /// What the device has not taken of the frame that goes out, as far as is known.
    pub frame: Bytes<512>,
    /// How much of that a `Fill` has been given whose result is still to come.
    pub filling: u16,
}
first_form!(ControlState);
