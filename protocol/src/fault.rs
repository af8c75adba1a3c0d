//! Why a server was faulted. Every rule that the kernel enforces has its own reason here.

use serde::{Deserialize, Serialize};

use crate::units::{ServerId, Ticks};

/// The rule that a server broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Reason {
    /// The CPU raised an exception: vector, error code, address (CR2 for #PF, else 0).
    Exception {
        /// Vector.
        vector: u8,
        /// Error code.
        error: u32,
        /// CR2.
        address: u64,
    },
    /// It ran over the longest activation.
    Hang,
    /// It ran over its run time per period.
    Overrun,
    /// The answer's length is larger than the answer page.
    Oversized,
    /// The answer does not decode.
    Malformed,
    /// More effects than an answer may have, or more that they copy or access.
    TooManyEffects,
    /// An effect that its role does not have.
    WrongRole,
    /// An effect without the grant for it.
    NotGranted,
    /// An effect whose values make no sense (alignment, range, size, number).
    BadValue,
    /// Guest memory outside the machine.
    OutsideMemory,
    /// Vault lines outside the vault.
    OutsideVault,
    /// The message's ticket was left open, or completed twice.
    TicketOpen,
    /// A ticket that is not this server's, or no longer open.
    WrongTicket,
    /// A reply of another kind than the operation wants.
    WrongReply,
    /// `NeedRegisters` twice, or beside other effects, or where registers do not apply.
    WrongNeed,
    /// More undelivered mail than its credit.
    Credit,
    /// No frame, slot or place left for what it asked.
    Exhausted,
    /// A successor that has not taken its place yet wanted more than to save its state and to write to the log.
    NotInPlace,
    /// The server said itself that it cannot go on.
    Panicked,
    /// It broke no rule: somebody asked for the fault, to see what comes of it.
    Killed,
    /// It broke no rule: another server took its place.
    Exchanged,
    /// It broke no rule: another server was to take its place, and did not.
    Released,
}

/// A fault, as told to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct FaultReport {
    /// Who.
    pub server: ServerId,
    /// Its generation: how often the slot was started.
    pub generation: u32,
    /// Which rule.
    pub reason: Reason,
    /// Index of the offending effect in the answer; 0 if it is not about one.
    pub effect: u8,
    /// When, by the host's TSC.
    pub at: Ticks,
    /// How many messages its slot had handled to their end. Two faults with at most one message between them (that is the one that says
    /// that the server was restarted) are faults over the same message.
    pub handled: u64,
    /// Whether it was injected by an experiment: then it tells nothing about the server.
    pub injected: bool,
}
