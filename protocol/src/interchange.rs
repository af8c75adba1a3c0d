//! The form in which a role's state moves from one server to another: two bytes of version, then the state by postcard.
//!
//! How a server keeps its state is its own business; what another server of the same role must know to go on is the role's. Versions are
//! compared before anything is stopped: an image says at its beginning which role it has and which versions it reads ([`Note`]).

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A role's state, versioned.
pub trait Interchange: Sized {
    /// The version that is written. 0: the role's state cannot be moved.
    const VERSION: u16;
    /// The oldest version that is read.
    const OLDEST: u16;

    /// Writes the state behind its version; the length, or `None` if it does not fit or cannot be moved.
    fn write(&self, into: &mut [u8]) -> Option<usize>;
    /// Reads a state of this version; older ones are brought up to date.
    fn read(version: u16, bytes: &[u8]) -> Option<Self>;
}

/// Puts the version ahead of the state.
///
/// `None`: it does not fit.
pub fn write<T: Serialize>(version: u16, state: &T, into: &mut [u8]) -> Option<usize> {
    let (place, rest) = into.split_first_chunk_mut()?;
    *place = version.to_le_bytes();
    postcard::to_slice(state, rest).ok().map(|bytes| 2 + bytes.len())
}

/// Takes the version off.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (version, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*version), rest))
}

/// Implements [`Interchange`] for a state that has had one form so far.
macro_rules! first_form {
    ($name:ty) => {
        impl Interchange for $name {
            const VERSION: u16 = 1;
            const OLDEST: u16 = 1;

            fn write(&self, into: &mut [u8]) -> Option<usize> {
                write(Self::VERSION, self, into)
            }

            fn read(version: u16, bytes: &[u8]) -> Option<Self> {
                if version == Self::VERSION { postcard::from_bytes(bytes).ok() } else { None }
            }
        }
    };
}

/// Of a role that keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct NoState;
first_form!(NoState);

/// Of a role whose state does not move to another server yet, or never: the loader's work is done before, and the supervisor is restarted
/// by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immovable {}

impl Interchange for Immovable {
    const VERSION: u16 = 0;
    const OLDEST: u16 = 0;

    fn write(&self, _: &mut [u8]) -> Option<usize> {
        match *self {}
    }

    fn read(_: u16, _: &[u8]) -> Option<Self> {
        None
    }
}

/// What a guest was shown as features of its CPU: it may rely on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct CpuidState {
    /// Bits of leaf 1 ECX and EDX, leaf 7 EBX, ECX and EDX, leaf 0x80000001 ECX and EDX, leaf 0xd EAX.
    pub features: [u32; 8],
}
first_form!(CpuidState);

impl CpuidState {
    /// Features that `self` has and `other` has not: how many.
    #[must_use]
    pub fn missing_in(&self, other: &CpuidState) -> u32 {
        self.features.iter().zip(&other.features).map(|(mine, its)| (mine & !its).count_ones()).sum()
    }
}

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

/// First bytes of an image's constants: what it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Note {
    /// [`Note::MAGIC`].
    pub magic: u64,
    /// [`crate::SCHEMA_HASH`] of the protocol that it speaks.
    pub schema: u64,
    /// The place of its role in [`RoleKind`](crate::role::RoleKind).
    pub role: u32,
    /// The version of the state that it writes; 0 if its state cannot be moved.
    pub version: u16,
    /// The oldest version that it reads.
    pub oldest: u16,
}

impl Note {
    /// "ATOLLSRV" in little-endian.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOLLSRV");

    /// What an image of role `R` says.
    #[must_use]
    pub const fn of<R: crate::role::Role>() -> Note {
        Note {
            magic: Note::MAGIC,
            schema: crate::SCHEMA_HASH,
            role: R::KIND as u32,
            version: R::State::VERSION,
            oldest: R::State::OLDEST,
        }
    }

    /// Whether the server of this image can take over from one of `other`, and could give back to it.
    #[must_use]
    pub fn succeeds(&self, other: &Note) -> bool {
        let reads = |reader: &Note, writer: &Note| reader.oldest <= writer.version && writer.version <= reader.version;
        self.version != 0 && other.version != 0 && reads(self, other)
    }
}
