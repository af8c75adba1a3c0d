//! Text that somebody else has written, as it may be shown: on a terminal, in a log where a line is a line.
//!
//! Who may write a line break can forge the next line, and who may write ESC has the reader's terminal. So whatever comes from a server, an
//! image or a machine is shown through [`Printable`]: what is not ASCII from space to `~` is written as `\n`, `\t` or `\x1b`. Nothing else
//! is changed, so that it makes no difference how often it is done.

use core::fmt::{self, Write};

/// Shows what it is made of, with everything but plain characters escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printable<'t>(pub &'t [u8]);

impl<'t> Printable<'t> {
    /// Of a text.
    #[must_use]
    pub const fn of(text: &'t str) -> Self {
        Printable(text.as_bytes())
    }

    /// Whether a byte is shown as it is.
    #[must_use]
    pub const fn is_plain(byte: u8) -> bool {
        matches!(byte, b' '..=b'~')
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f)
    }
}

/// Lets only plain characters through to `to`, and the others escaped.
#[derive(Debug)]
pub struct Escaping<W>(pub W);

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text.as_bytes(), &mut self.0)
    }
}

fn escape(bytes: &[u8], to: &mut impl Write) -> fmt::Result {
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        let plain = rest
            .iter()
            .take_while(|byte| Printable::is_plain(**byte))
            .count();
        let (before, after) = rest.split_at(plain.max(1));
        match (core::str::from_utf8(before), byte) {
            (Ok(text), _) if plain > 0 => to.write_str(text)?,
            (_, b'\n') => to.write_str("\\n")?,
            (_, b'\r') => to.write_str("\\r")?,
            (_, b'\t') => to.write_str("\\t")?,
            (_, byte) => write!(to, "\\x{byte:02x}")?,
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::{format, vec::Vec};

    use super::*;

    #[test]
    fn plain_text_is_shown_as_it_is() {
        let text = "it's 5 > 4 \\ \"so\" ~!";
        assert_eq!(Printable::of(text).to_string(), text);
        assert_eq!(Printable(b"").to_string(), "");
    }

    #[test]
    fn nothing_that_moves_the_cursor_or_ends_a_line_gets_through() {
        let text = "a\n[9.999999] hypervisor fault: FORGED \x1b[31mred\x7f\r\t\0\u{85}\u{202e}";
        let shown = Printable::of(text).to_string();
        assert_eq!(
            shown,
            r"a\n[9.999999] hypervisor fault: FORGED \x1b[31mred\x7f\r\t\x00\xc2\x85\xe2\x80\xae"
        );
        let all: Vec<u8> = (0..=255).collect();
        assert!(Printable(&all).to_string().bytes().all(Printable::is_plain));
    }

    #[test]
    fn it_makes_no_difference_how_often_it_is_done() {
        let once = Printable(b"a\n\\n\x1b").to_string();
        assert_eq!(Printable::of(&once).to_string(), once);
    }

    #[test]
    fn a_writer_escapes_piece_by_piece() {
        let mut to = Escaping(std::string::String::new());
        write!(to, "a\x07\n{:?}", "b\n").unwrap();
        assert_eq!(to.0, format!("{}", Printable(b"a\x07\n\"b\\n\"")));
    }
}
