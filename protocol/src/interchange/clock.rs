//! A real-time clock (MC146818).

use serde::{Deserialize, Serialize};

use super::{Bytes, first_form};
use crate::units::Ticks;

/// A real-time clock's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ClockState {
    /// The location that the data port accesses.
    pub index: u8,
    /// Register A without "update in progress".
    pub a: u8,
    /// Register B.
    pub b: u8,
    /// Register C without its summary bit, as it was at `seen`.
    pub flags: u8,
    /// Until when `flags` is up to date.
    pub seen: Ticks,
    /// The interrupt line was last raised.
    pub raised: bool,
    /// The clock showed this many seconds since 1970...
    pub seconds: u64,
    /// ...at this time, when a second began.
    pub began: Ticks,
    /// The locations. Those of the time count only while it stands still.
    pub locations: Bytes<128>,
}
first_form!(ClockState);
