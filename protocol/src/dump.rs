//! What is kept of a server's last fault, for those who ask later: the server itself is restarted meanwhile.

use core::fmt;

use crate::cause::{Cause, What};
use crate::control::{DUMP_MESSAGE, DumpPart, REGISTER_NAMES, REGISTERS};
use crate::fault::FaultReport;
use crate::units::Ticks;

/// Bytes of the message that one part carries.
const PIECE: usize = DUMP_MESSAGE / 4;
/// Messages that are remembered.
pub const HISTORY: usize = 32;

/// One activation that was delivered, for the report.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// When.
    pub at: Ticks,
    /// What it was about.
    pub cause: Cause,
}

impl Past {
    /// Nothing yet.
    pub const NONE: Past = Past {
        at: Ticks(0),
        cause: Cause(What::Nothing, 0),
    };
}

/// Registers with their names.
struct Named<'r>(&'r [u64; REGISTERS]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        REGISTER_NAMES
            .iter()
            .zip(self.0)
            .try_for_each(|(name, value)| write!(f, "{name} {value:#x} "))
    }
}

/// The last fault.
#[derive(Clone, Copy, Debug)]
pub struct Dump {
    fault: Option<FaultReport>,
    told: bool,
    registers: [u64; REGISTERS],
    message: [u8; DUMP_MESSAGE],
    history: [Past; HISTORY],
}

impl Dump {
    /// There was no fault yet.
    pub const NONE: Dump = Dump {
        fault: None,
        told: false,
        registers: [0; REGISTERS],
        message: [0; DUMP_MESSAGE],
        history: [Past::NONE; HISTORY],
    };

    /// Of a fault; the registers if the server was stopped while it ran, the message that it was handling, and
    /// the last ones, oldest first.
    pub fn of<'p>(
        fault: FaultReport,
        registers: Option<[u64; REGISTERS]>,
        message: &[u8],
        history: impl Iterator<Item = &'p Past>,
    ) -> Dump {
        let mut dump = Dump {
            fault: Some(fault),
            registers: registers.unwrap_or([0; REGISTERS]),
            ..Dump::NONE
        };
        let kept = message.len().min(DUMP_MESSAGE);
        if let (Some(to), Some(from)) = (dump.message.get_mut(..kept), message.get(..kept)) {
            to.copy_from_slice(from);
        }
        dump.history
            .iter_mut()
            .zip(history)
            .for_each(|(to, past)| *to = *past);
        dump
    }

    /// The report of the fault.
    #[must_use]
    pub fn report(&self) -> Option<FaultReport> {
        self.fault
    }

    /// Says it in lines, for a log: once.
    pub fn tell(&mut self, mut line: impl FnMut(fmt::Arguments<'_>)) {
        let Some(fault) = self.fault.filter(|_| !self.told) else {
            return;
        };
        self.told = true;
        line(format_args!(
            "what is known of the fault of server {}, generation {}:",
            fault.server.number(),
            fault.generation
        ));
        if self.registers.iter().any(|value| *value != 0) {
            line(format_args!("its registers: {}", Named(&self.registers)));
        }
        line(format_args!("its last messages, oldest first:"));
        for past in self
            .history
            .iter()
            .filter(|past| past.cause.0 != What::Nothing)
        {
            line(format_args!(
                "  {:>16} {} {:#x}",
                past.at.0,
                past.cause.0.name(),
                past.cause.1
            ));
        }
    }

    /// Its parts, in the order in which they are asked for.
    #[must_use]
    pub fn part(&self, index: u8) -> Option<DumpPart<'_>> {
        let fault = self.fault?;
        let message = self.message.chunks(PIECE).map(DumpPart::Message);
        let past = self
            .history
            .iter()
            .filter(|past| past.cause.0 != What::Nothing);
        let past = past.map(|past| DumpPart::Past(past.at, past.cause.0, past.cause.1));
        let first = [DumpPart::Fault(fault), DumpPart::Registers(self.registers)];
        first
            .into_iter()
            .chain(message)
            .chain(past)
            .nth(usize::from(index))
    }
}
