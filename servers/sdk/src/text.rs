//! A line of text without a heap.

use core::fmt::{self, Write};

/// Formatted text, cut to `N` bytes.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Text<N> {
    /// What this looks like.
    pub(crate) fn of(what: impl fmt::Display) -> Self {
        let mut text = Text {
            bytes: [0; N],
            used: 0,
        };
        // Writing cannot fail: what does not fit is left out.
        let _ = write!(text, "{what}");
        text
    }

    /// The text; a character that is cut is left out.
    pub(crate) fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.used).unwrap_or(&[]);
        written
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid())
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (to, from) in self.bytes.iter_mut().skip(self.used).zip(text.bytes()) {
            *to = from;
            self.used += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_between_two_characters() {
        assert_eq!(
            Text::<8>::of(format_args!("{}-{:x}", 12, 255)).as_str(),
            "12-ff"
        );
        assert_eq!(Text::<3>::of("abcd").as_str(), "abc");
        assert_eq!(Text::<3>::of("abé").as_str(), "ab");
        assert_eq!(Text::<0>::of("a").as_str(), "");
    }
}
