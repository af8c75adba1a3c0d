//! Registers that nobody knows: #GP for the guest, a line for the log, not too often.

use core::fmt::Write;

use atoll_protocol::role::{Msr, MsrEffect, MsrReply};
use atoll_sdk::Effects;
use heapless::String;

use crate::Plain;

/// So many are logged one by one; a guest that probes at boot needs no more.
const FIRST: u64 = 16;
/// After those, one in so many.
const EACH: u64 = 256;

/// Counts the access, logs it if its turn has come, and refuses it.
#[cold]
#[inline(never)]
pub(crate) fn answer(plain: &mut Plain, index: u32, written: Option<u64>, effects: &mut Effects<'_, Msr>) -> MsrReply {
    plain.unknown = plain.unknown.saturating_add(1);
    let count = plain.unknown;
    if count <= FIRST || count.is_multiple_of(EACH) {
        let mut line = String::<120>::new();
        // A line has room for the longest of these; what would not fit is left out.
        let _ = match written {
            Some(value) => write!(line, "unknown MSR {index:#x}: write of {value:#x} refused"),
            None => write!(line, "unknown MSR {index:#x}: read refused"),
        };
        if count > FIRST {
            let _ = write!(line, " ({count} so far, one in {EACH} logged)");
        }
        effects.emit(MsrEffect::Log(&line));
    }
    MsrReply::GeneralProtection
}
