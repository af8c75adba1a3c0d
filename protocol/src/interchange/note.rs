//! What an image says of itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Interchange;
use crate::role::Role;

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
    /// The oldest version that it reads; `version` is the newest.
    pub oldest: u16,
}

impl Note {
    /// "ATOLLSRV" in little-endian.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOLLSRV");

    /// What an image of role `R` says whose server speaks of its state in `version`.
    #[must_use]
    pub const fn of<R: Role>(version: u16) -> Note {
        Note { magic: Note::MAGIC, schema: crate::SCHEMA_HASH, role: R::KIND as u32, version, oldest: R::State::OLDEST }
    }

    /// Whether the server of this image can take over from one of `other`: whether it reads what the other writes.
    #[must_use]
    pub fn succeeds(&self, other: &Note) -> bool {
        let reads = |reader: &Note, writer: &Note| reader.oldest <= writer.version && writer.version <= reader.version;
        self.version != 0 && other.version != 0 && reads(self, other)
    }
}
