//! What happened, in words.

use core::fmt;

use atoll_protocol::effect::Terms;
use atoll_protocol::fault::{FaultReport, Reason};
use atoll_protocol::message::Stop;

/// Why the machine stopped.
pub(crate) fn stop(why: Stop) -> &'static str {
    match why {
        Stop::PowerOff => "machine stopped: the guest switched the power off",
        Stop::Reset => "machine stopped: the guest asked for a reset",
        Stop::Crash => {
            "machine stopped: the guest crashed (triple fault, or a state that the CPU refuses)"
        }
        Stop::Refused => "machine stopped: the loader refused the guest",
        Stop::ServerFault => "machine stopped: a server was faulted",
    }
}

/// Who was faulted, and which rule it broke.
pub(crate) struct Faulted<'r> {
    /// What the kernel says.
    pub(crate) report: &'r FaultReport,
    /// The server's name, if the manifest can be read.
    pub(crate) name: Option<&'r str>,
}

impl fmt::Display for Faulted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faulted { report, name } = self;
        write!(f, "server {}", report.server.number())?;
        if let Some(name) = name {
            write!(f, " `{name}`")?;
        }
        write!(
            f,
            " (generation {}) faulted: {}",
            report.generation,
            InWords(report.reason)
        )?;
        if about_an_effect(report.reason) {
            write!(f, " (effect {} of its answer)", report.effect)
        } else {
            Ok(())
        }
    }
}

/// A server falls back to another image.
pub(crate) struct Fallback<'s> {
    /// The server.
    pub(crate) server: &'s str,
    /// The image.
    pub(crate) image: &'s str,
    /// How it goes on.
    pub(crate) terms: Terms,
}

impl fmt::Display for Fallback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.terms == Terms::Reset {
            "with a reset state"
        } else {
            "with its state"
        };
        write!(
            f,
            "restarts do not help server `{}`: it falls back to image `{}`, {state}",
            self.server, self.image
        )
    }
}

/// Whether the report's effect number means anything.
fn about_an_effect(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::WrongRole
            | Reason::NotGranted
            | Reason::BadValue
            | Reason::OutsideMemory
            | Reason::OutsideVault
            | Reason::WrongTicket
            | Reason::WrongReply
            | Reason::WrongNeed
            | Reason::Credit
            | Reason::Exhausted
            | Reason::NotInPlace
    )
}

struct InWords(Reason);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Exception {
                vector: 14,
                error,
                address,
            } => {
                return write!(f, "page fault at {address:#x} (error {error:#x})");
            }
            Reason::Exception { vector, error, .. } => {
                return write!(f, "CPU exception {vector} (error {error:#x})");
            }
            Reason::Hang => "it ran longer than one activation may",
            Reason::Overrun => "it used up its run time for the period",
            Reason::Oversized => "its answer is longer than the answer page",
            Reason::Malformed => "its answer does not decode",
            Reason::TooManyEffects => "its answer has too many effects",
            Reason::WrongRole => "it answered with an effect that its role does not have",
            Reason::NotGranted => "it was not granted what it tried",
            Reason::BadValue => "it answered with a value that makes no sense",
            Reason::OutsideMemory => "it named guest memory outside the machine",
            Reason::OutsideVault => "it named vault lines outside its vault",
            Reason::TicketOpen => "it left its ticket open, or completed it twice",
            Reason::WrongTicket => "it named a ticket that is not its own",
            Reason::WrongReply => "it replied in a way that the operation does not have",
            Reason::WrongNeed => "it asked for registers where it may not",
            Reason::Credit => "it sent more mail than its credit",
            Reason::Exhausted => "nothing was left of what it asked for",
            Reason::NotInPlace => "it wanted to do something before it had taken another's place",
            Reason::Panicked => "it panicked",
            Reason::Killed => "somebody asked for it; it has done nothing wrong",
            Reason::Exchanged => "another server took its place",
            Reason::Released => "another server was to take its place, and did not",
        })
    }
}
