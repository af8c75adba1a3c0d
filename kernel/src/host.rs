//! The few devices that every PC has, and QEMU's two for a log and for leaving.

pub(crate) mod debugcon;
pub(crate) mod exit;
pub(crate) mod lapic;
pub(crate) mod pic;
pub(crate) mod port;
pub(crate) mod quirks;
pub(crate) mod rtc;
pub(crate) mod tsc;
