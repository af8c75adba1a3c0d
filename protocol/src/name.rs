//! A name in a place of fixed size: a server's, an image's.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A name of at most [`Name::BYTES`] bytes; zeros follow what is shorter.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Name([u8; Name::BYTES]);

impl Name {
    /// Most bytes of a name.
    pub const BYTES: usize = 16;
    /// No name.
    pub const NONE: Name = Name([0; Name::BYTES]);

    /// Of this text; what is longer is cut.
    #[must_use]
    pub const fn of(text: &str) -> Name {
        let (mut name, text) = (Name::NONE, text.as_bytes());
        let mut at = 0;
        while at < text.len() && at < Name::BYTES {
            name.0[at] = text[at];
            at += 1;
        }
        name
    }

    /// Its text, without a character that was cut in two.
    #[must_use]
    pub fn text(&self) -> &str {
        let used = self.0.iter().position(|byte| *byte == 0).unwrap_or(Name::BYTES);
        self.0.get(..used).and_then(|bytes| bytes.utf8_chunks().next()).map_or("", |first| first.valid())
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
        assert_eq!(Name::of("a name of more than 16 bytes").text(), "a name of more t");
    }

    #[test]
    fn a_character_that_is_cut_in_two_is_left_out() {
        assert_eq!(Name::of("fifteen bytes: \u{e9}").text(), "fifteen bytes: ");
        assert_eq!(Name([0xff; Name::BYTES]).text(), "");
    }
}
