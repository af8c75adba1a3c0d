//! A name in a place of fixed size: a server's, an image's.

use crate::printable::Printable;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A name of at most [`Name::BYTES`] bytes; zeros follow what is shorter.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Name([u8; Name::BYTES]);

impl Name {
    /// Most bytes of a name.
    pub const BYTES: usize = 16;
    /// No name.
    pub const NONE: Name = Name([0; Name::BYTES]);

    /// Of this text; what is longer is cut, and what is not a plain character becomes `?`.
    #[must_use]
    pub const fn of(text: &str) -> Name {
        let (mut name, text) = (Name::NONE, text.as_bytes());
        let mut at = 0;
        while at < text.len() && at < Name::BYTES {
            name.0[at] = if Printable::is_plain(text[at]) {
                text[at]
            } else {
                b'?'
            };
            at += 1;
        }
        name
    }

    /// Its text, up to the first character that is not plain: whoever made it, it can be shown as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        let used = self
            .0
            .iter()
            .position(|byte| !Printable::is_plain(*byte))
            .unwrap_or(Name::BYTES);
        self.0
            .get(..used)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_up_to_its_sixteenth_byte() {
        for name in ["", "uart", "a name of 16 byt"] {
            assert_eq!(Name::of(name).text(), name);
        }
        assert_eq!(
            Name::of("a name of more than 16 bytes").text(),
            "a name of more t"
        );
    }

    #[test]
    fn a_name_has_plain_characters_only_whoever_made_it() {
        assert_eq!(Name::of("a\x1b[2J\n\u{e9}").text(), "a?[2J???");
        assert_eq!(Name([0xff; Name::BYTES]).text(), "");
        assert_eq!(Name(*b"uart\x1b[2J\nforged!").text(), "uart");
    }
}
