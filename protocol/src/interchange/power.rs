//! ACPI power management.

use serde::{Deserialize, Serialize};

use super::only_form;

/// Power management's state. The PM timer follows from the host's counter: it was 0 when that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct PowerState {
    /// PM1 enable.
    pub enable: u16,
    /// PM1 control without the bit that can only be written.
    pub control: u16,
    /// The reset control register (port 0xcf9).
    pub reset_control: u8,
    /// How often the PM timer's top bit had changed, since it was 0, when PM1 status was last cleared.
    pub changes_seen: u64,
    /// The SCI was last raised.
    pub raised: bool,
    /// How often the keyboard controller's status was read that is not there, up to where that makes no difference any more.
    pub keyboard_reads: u8,
}
only_form!(PowerState, 2);
