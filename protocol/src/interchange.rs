//! The form in which a role's state moves from one server to another: two bytes of version, then the state by postcard.
//!
//! How a server keeps its state is its own business; what another server of the same role must know to go on is the role's, one file a
//! role. Versions are compared before anything is stopped: an image says at its beginning which role it has and which versions it reads
//! ([`Note`]).
//!
//! What belongs to the role's slot stays where it is, and a state only says how things stand with it: mail and results on their way, the
//! levels of lines, tickets, and timers. How timers are numbered is a server's own business, so a state says what is to happen and when,
//! and never that a timer is armed. A successor arms its own when it is told that it has taken its place, and takes expiries that it did
//! not ask for as a reason to look at the clock.

use serde::{Deserialize, Serialize};

mod bytes;
mod clock;
mod console;
mod control;
mod cpuid;
mod irqchip;
mod msr;
mod note;
mod power;
mod serial;
mod timer;

pub use bytes::Bytes;
pub use clock::ClockState;
pub use console::{ConsoleState, WaitingState};
pub use control::{ControlState, Question};
pub use cpuid::CpuidState;
pub use irqchip::{ApicTimerState, IoapicState, IrqchipState, LapicState, OfferState, PicState};
pub use msr::MsrState;
pub use note::Note;
pub use power::PowerState;
pub use serial::SerialState;
pub use timer::{CounterPhase, CounterState, TimerState};

/// A role's state, versioned.
pub trait Interchange: Sized {
    /// The newest version. 0: the role's state cannot be moved.
    const VERSION: u16;
    /// The oldest version that is understood.
    const OLDEST: u16;

    /// Writes the state as `version` says it, behind the version; what that version has no word for is left out. The length, or `None` if
    /// it does not fit, cannot be moved, or there is no such version.
    fn write(&self, version: u16, into: &mut [u8]) -> Option<usize>;
    /// Reads a state of this version; older ones are brought up to date.
    fn read(version: u16, bytes: &[u8]) -> Option<Self>;
}

/// Puts the version ahead of the state.
///
/// `None`: it does not fit.
pub fn write<T: Serialize>(version: u16, state: &T, into: &mut [u8]) -> Option<usize> {
    let (place, rest) = into.split_first_chunk_mut()?;
    *place = version.to_le_bytes();
    postcard::to_slice(state, rest)
        .ok()
        .map(|bytes| 2 + bytes.len())
}

/// Takes the version off.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (version, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*version), rest))
}

/// Implements [`Interchange`] for a state of which only this form is understood.
macro_rules! only_form {
    ($name:ty, $version:expr) => {
        impl $crate::interchange::Interchange for $name {
            const VERSION: u16 = $version;
            const OLDEST: u16 = $version;

            fn write(&self, version: u16, into: &mut [u8]) -> Option<usize> {
                if version == Self::VERSION {
                    $crate::interchange::write(version, self, into)
                } else {
                    None
                }
            }

            fn read(version: u16, bytes: &[u8]) -> Option<Self> {
                if version == Self::VERSION {
                    postcard::from_bytes(bytes).ok()
                } else {
                    None
                }
            }
        }
    };
}
use only_form;

/// The same for a state that has had one form so far.
macro_rules! first_form {
    ($name:ty) => {
        $crate::interchange::only_form!($name, 1);
    };
}
use first_form;

/// Of a role that keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct NoState;
first_form!(NoState);

/// Of a role whose state never moves to another server: the loader's work is done before, and the supervisor is restarted by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immovable {}

impl Interchange for Immovable {
    const VERSION: u16 = 0;
    const OLDEST: u16 = 0;

    fn write(&self, _: u16, _: &mut [u8]) -> Option<usize> {
        match *self {}
    }

    fn read(_: u16, _: &[u8]) -> Option<Self> {
        None
    }
}
