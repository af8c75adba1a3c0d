//! An interval timer (8254).
//!
//! Time is counted in cycles of its 1,193,182 Hz clock, of which cycle 0 began when the host's counter was 0. Cycle `c` is going on at
//! tick `t` if `c = floor(t * 1193182 / frequency of the counter)`.

use serde::{Deserialize, Serialize};

use super::first_form;

/// An interval timer's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct TimerState {
    /// The counters.
    pub counters: [CounterState; 3],
    /// The cycle at which counter 0's output rises next and the interrupt is due, if it does.
    pub rises: Option<u64>,
    /// Port 0x61: what was written to bits 0 to 3.
    pub port_b: u8,
}
first_form!(TimerState);

/// What a counter does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum CounterPhase {
    /// No count is loaded, or it waits for a trigger.
    #[default]
    Idle,
    /// It counts, since this cycle.
    Counting(u64),
    /// Its gate holds it, after so many cycles.
    Held(u64),
}

/// One counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct CounterState {
    /// What it does.
    pub phase: CounterPhase,
    /// The mode, 0 to 5.
    pub mode: u8,
    /// It counts in decimal.
    pub decimal: bool,
    /// The gate's level.
    pub gate: bool,
    /// A count was written since the control word.
    pub loaded: bool,
    /// The count that runs, 1 to 65536 (10000 if decimal).
    pub count: u32,
    /// The count last written.
    pub next: u32,
    /// The cycle at which `next` replaces `count` (modes 2 and 3), if it waits for that.
    pub replaced: Option<u64>,
    /// How the CPU accesses it: 1 low byte, 2 high byte, 3 both.
    pub access: u8,
    /// The low byte of a count whose high byte is awaited.
    pub low: Option<u8>,
    /// Of both bytes, the high one is read next.
    pub high_next: bool,
    /// The latched count, and how many bytes of it are still to be read.
    pub latched: (u16, u8),
    /// The latched status.
    pub status: Option<u8>,
}
