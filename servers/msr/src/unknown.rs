//! Registers that nobody knows: #GP for the guest, a line for the log, not too often.

use core::fmt;

use atoll_protocol::role::{Msr, MsrReply};
use atoll_sdk::Effects;

use crate::Plain;

/// So many are logged one by one; a guest that probes at boot needs no more.
const FIRST: u64 = 16;
/// After those, one in so many.
const EACH: u64 = 256;

/// Counts the access, logs it if its turn has come, and refuses it.
#[cold]
#[inline(never)]
pub(crate) fn answer(
    plain: &mut Plain,
    index: u32,
    written: Option<u64>,
    effects: &mut Effects<'_, Msr>,
) -> MsrReply {
    plain.unknown = plain.unknown.saturating_add(1);
    let count = plain.unknown;
    if count <= FIRST || count.is_multiple_of(EACH) {
        effects.log(Refused {
            index,
            written,
            count,
        });
    }
    MsrReply::GeneralProtection
}

/// The line.
struct Refused {
    index: u32,
    written: Option<u64>,
    count: u64,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown MSR {:#x}: ", self.index)?;
        match self.written {
            Some(value) => write!(f, "write of {value:#x} refused")?,
            None => f.write_str("read refused")?,
        }
        if self.count > FIRST {
            write!(f, " ({} so far, one in {EACH} logged)", self.count)
        } else {
            Ok(())
        }
    }
}
