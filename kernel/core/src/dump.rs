//! What is kept of a server's last fault, for those who ask later: the server itself is restarted meanwhile.

use atoll_protocol::cause::{Cause, What};
use atoll_protocol::control::{DUMP_MESSAGE, DumpPart, REGISTERS};
use atoll_protocol::fault::FaultReport;
use atoll_protocol::units::Ticks;

use crate::server::{HISTORY, Past};

/// Bytes of the message that one record carries.
const PIECE: usize = DUMP_MESSAGE / 4;

/// The last fault.
#[derive(Clone, Copy)]
pub(crate) struct Dump {
    /// What happened, and whether it was injected; `None` as long as nothing has.
    pub(crate) fault: Option<(FaultReport, bool)>,
    pub(crate) registers: [u64; REGISTERS],
    pub(crate) message: [u8; DUMP_MESSAGE],
    pub(crate) history: [Past; HISTORY],
}

impl Dump {
    pub(crate) const NONE: Dump = Dump {
        fault: None,
        registers: [0; REGISTERS],
        message: [0; DUMP_MESSAGE],
        history: [Past { at: Ticks(0), cause: Cause(What::Nothing, 0) }; HISTORY],
    };

    /// Its parts, in the order in which they are asked for.
    pub(crate) fn part(&self, index: u8) -> Option<DumpPart<'_>> {
        let (fault, injected) = self.fault?;
        let message = self.message.chunks(PIECE).map(DumpPart::Message);
        let past = self.history.iter().filter(|past| past.cause.0 != What::Nothing);
        let past = past.map(|past| DumpPart::Past(past.at, past.cause.0, past.cause.1));
        let first = [DumpPart::Fault(fault, injected), DumpPart::Registers(self.registers)];
        first.into_iter().chain(message).chain(past).nth(usize::from(index))
    }
}
