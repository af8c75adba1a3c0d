//! Text as the tool shows it: what a machine, a server or a guest has written cannot move the cursor, clear the screen or hide a line. All
//! that is printed goes through here, but for the guest's console, which is the guest's.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use atoll_protocol::printable::Printable;
use serde::Serialize;

use crate::error::{Error, Result};

/// A text of some lines. Line breaks, plain characters and the letters of any language are shown as they are, all else is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines<'t>(pub &'t str);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character == '\n' || character.is_alphanumeric() {
                return f.write_char(character);
            }
            Display::fmt(&Printable::of(character.encode_utf8(&mut [0; 4])), f)
        })
    }
}

/// Prints on standard output. Whoever has closed that is told as of any other error.
pub fn print(text: impl Display) -> Result<()> {
    write(&Lines(&text.to_string()).to_string())
}

/// Version of what keys JSON documents and records have, and what they mean. New keys do not raise it.
pub const SCHEMA: u32 = 1;

/// A JSON document, which says so.
#[derive(Debug, Serialize)]
pub struct Document<'d, T> {
    schema: u32,
    #[serde(flatten)]
    content: &'d T,
}

impl<'d, T: Serialize> Document<'d, T> {
    /// Of a map with string keys.
    pub fn of(content: &'d T) -> Self {
        Self {
            schema: SCHEMA,
            content,
        }
    }
}

/// Prints one JSON document.
pub fn document(content: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(&Document::of(content))
        .map_err(|error| Error::program("writing JSON", error))?;
    write(&(json(&text) + "\n"))
}

/// Tells an error as JSON, on standard error as any other.
pub fn complain_as_document(error: &Error) {
    let text = serde_json::json!({ "schema": SCHEMA, "error": error.to_string() }).to_string();
    let _ = writeln!(io::stderr(), "{}", json(&text));
}

/// Prints as it is what is the tool's own.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(Error::file("standard output"))
}

/// Prints on standard error. There is nobody left to tell if that is closed.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", Lines(&text.to_string()));
}

/// A name on one line.
#[must_use]
pub fn name(text: &str) -> String {
    Printable::of(text).to_string()
}

/// JSON that a terminal can show as well: in its strings every character but the plain ones is escaped.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || matches!(character, ' '..='~') {
            shown.push(character);
        } else {
            character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| _ = write!(shown, "\\u{unit:04x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_nothing_else_moves_the_cursor() {
        let text = "[1.0] uart: \x1b[2J\x1b]0;title\x07 \r overwritten\n[2.0] M\u{fc}ller \u{202e}\u{9b}2J\x7f";
        let shown = "[1.0] uart: \\x1b[2J\\x1b]0;title\\x07 \\r overwritten\n[2.0] M\u{fc}ller \\xe2\\x80\\xae\\xc2\\x9b2J\\x7f";
        assert_eq!(Lines(text).to_string(), shown);
        assert_eq!(Lines(shown).to_string(), shown, "once is enough");
        assert_eq!(name("a\nb\u{fc}"), "a\\nb\\xc3\\xbc");
    }

    #[test]
    fn json_says_the_same_in_plain_characters() {
        let text = serde_json::to_string_pretty(&[
            "\x1b[2J",
            "\u{9b}\u{202e}\x7f",
            "\u{1f600}",
            "plain\n",
        ])
        .unwrap();
        let shown = json(&text);
        assert!(
            shown
                .chars()
                .all(|character| character == '\n' || matches!(character, ' '..='~')),
            "{shown}"
        );
        let (before, after): (Vec<String>, Vec<String>) = (
            serde_json::from_str(&text).unwrap(),
            serde_json::from_str(&shown).unwrap(),
        );
        assert_eq!(before, after);
    }
}
