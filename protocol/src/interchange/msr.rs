//! The MSRs.

use serde::{Deserialize, Serialize};

use super::first_form;

/// MSRs that hold what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct MsrState {
    /// MISC_ENABLE.
    pub misc_enable: u64,
    /// kvmclock: MSR_KVM_SYSTEM_TIME_NEW and MSR_KVM_WALL_CLOCK_NEW.
    pub system_time: u64,
    /// See `system_time`.
    pub wall_clock: u64,
    /// kvmclock's origin: the host's counter at system time 0.
    pub origin: u64,
    /// The guest's counter less the host's.
    pub offset: u64,
    /// Seconds since 1970 at the origin.
    pub wall_seconds: u64,
    /// How often kvmclock's structures were written: their version.
    pub published: u32,
    /// Memory types: MTRR_DEF_TYPE, the eleven fixed ranges, then bases and masks of eight variable ranges.
    pub memory_types: [u64; 28],
}
first_form!(MsrState);
