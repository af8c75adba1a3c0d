//! Where in the manifest something stands, for error messages.

use std::ops::Range;

use crate::error::Error;

/// A manifest's text and its name.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// Its file's name.
    pub file: &'t str,
    /// The text.
    pub text: &'t str,
}

impl Source<'_> {
    /// An error about what stands at `span`.
    #[must_use]
    pub fn error(&self, span: Range<usize>, what: impl Into<String>) -> Error {
        Error::Manifest {
            file: self.file.to_owned(),
            line: self.line(span.start),
            what: what.into(),
        }
    }

    /// The line, from 1, of a byte offset.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let before = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}
