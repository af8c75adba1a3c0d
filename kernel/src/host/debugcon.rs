//! The kernel's log, on QEMU's debug console: there from the first instruction, no device to set up, nothing to wait for.

use core::fmt::{self, Write};

use atoll_protocol::printable::Escaping;

use super::{port, tsc};

/// `-debugcon`'s port.
const PORT: u16 = 0xe9;

struct Debugcon;

impl Write for Debugcon {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| port::write::<u8>(PORT, byte));
        Ok(())
    }
}

/// Writes one line; [`log!`](crate::log) calls it.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let micros = tsc::micros();
    // The console takes everything; what a `Display` refuses to say is not worth a fault. A line is a line, whatever is in it.
    let _ = write!(
        Escaping(Debugcon),
        "[{}.{:06}] {text}",
        micros / 1_000_000,
        micros % 1_000_000
    );
    let _ = Debugcon.write_str("\n");
}

/// Writes a line to the kernel's log.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::host::debugcon::line(format_args!($($argument)*)) };
}
