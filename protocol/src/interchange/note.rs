//! What an image says of itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Interchange;
use crate::name::Name;
use crate::role::Role;

/// First bytes of an image's constants: what it is.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
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
    /// What it is called.
    pub name: Name,
}

impl Note {
    /// "ATOLLSRV" in little-endian.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOLLSRV");

    /// What an image of role `R` and of this name says whose server speaks of its state in `version`.
    #[must_use]
    pub const fn of<R: Role>(version: u16, name: &str) -> Note {
        let (magic, schema, role) = (Note::MAGIC, crate::SCHEMA_HASH, R::KIND as u32);
        Note {
            magic,
            schema,
            role,
            version,
            oldest: R::State::OLDEST,
            name: Name::of(name),
        }
    }

    /// What it is called; nothing if that could do harm on a terminal: it is the image that says so.
    #[must_use]
    pub fn called(&self) -> Option<&str> {
        let text = self.name.text();
        Some(text)
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    /// Whether the server of this image can take over from one of `other`: whether it reads what the other writes.
    #[must_use]
    pub fn succeeds(&self, other: &Note) -> bool {
        let reads = |reader: &Note, writer: &Note| {
            reader.oldest <= writer.version && writer.version <= reader.version
        };
        self.version != 0 && other.version != 0 && reads(self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Cpuid;

    #[test]
    fn an_image_is_called_what_can_be_printed() {
        assert_eq!(Note::of::<Cpuid>(1, "my-cpuid").called(), Some("my-cpuid"));
        assert_eq!(Note::of::<Cpuid>(1, "\x1b[2J").called(), Some("?[2J"));
        for name in ["", "my cpuid"] {
            assert_eq!(Note::of::<Cpuid>(1, name).called(), None, "{name:?}");
        }
    }
}
