//! The bundle: an uncompressed `ustar` archive (POSIX.1-1988) that the host tool packs and the boot loader hands over.
//!
//! The reader is total: whatever the bytes are, it ends with entries or with an error that says where the archive is broken.

use core::fmt;

/// Size of a header, and the unit that file contents are padded to.
const BLOCK: usize = 512;

#[cfg(any(test, feature = "harness"))]
pub mod write;

/// The archive.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'b> {
    bytes: &'b [u8],
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    /// Its path, without a leading `./`.
    pub name: &'b str,
    /// Where its contents begin in the bundle.
    pub offset: u64,
    /// Its contents.
    pub bytes: &'b [u8],
}

/// The archive is broken at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Neither a header nor the end of the archive.
    Header(usize),
    /// The header's checksum is wrong.
    Checksum(usize),
    /// The header's name is not text.
    Name(usize),
    /// The file's contents reach beyond the archive.
    Truncated(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, offset) = match self {
            Broken::Header(offset) => ("no header", offset),
            Broken::Checksum(offset) => ("a header with a wrong checksum", offset),
            Broken::Name(offset) => ("a name that is not text", offset),
            Broken::Truncated(offset) => ("a file that is cut off", offset),
        };
        write!(f, "the bundle has {what} at offset {offset}")
    }
}

impl<'b> Bundle<'b> {
    /// A bundle of these bytes.
    #[must_use]
    pub const fn new(bytes: &'b [u8]) -> Self {
        Bundle { bytes }
    }

    /// All of its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The files in order; ends after the first error.
    #[must_use]
    pub const fn entries(&self) -> Entries<'b> {
        Entries {
            bytes: self.bytes,
            at: 0,
        }
    }

    /// The file with this path; `None` if there is none.
    ///
    /// # Errors
    /// The archive is broken before such a file.
    pub fn find(&self, name: &str) -> Result<Option<Entry<'b>>, Broken> {
        self.entries()
            .find(|entry| entry.map_or(true, |entry| entry.name == name))
            .transpose()
    }

    /// The file with the path `folder/name`; `None` if there is none.
    ///
    /// # Errors
    /// The archive is broken before such a file.
    pub fn find_in(&self, folder: &str, name: &str) -> Result<Option<Entry<'b>>, Broken> {
        let same = |path: &str| {
            path.split_once('/')
                .is_some_and(|(first, rest)| first == folder && rest == name)
        };
        self.entries()
            .find(|entry| entry.map_or(true, |entry| same(entry.name)))
            .transpose()
    }
}

/// The files of a bundle, in order.
#[derive(Clone, Debug)]
pub struct Entries<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Entries<'b> {
    /// Reads one header; `Ok(None)` at the archive's end. A header of something else than a regular file gives an empty name.
    fn advance(&mut self) -> Result<Option<Entry<'b>>, Broken> {
        let at = self.at;
        let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let header: &[u8; BLOCK] = rest.first_chunk().ok_or(Broken::Header(at))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if header.get(257..262) != Some(b"ustar") {
            return Err(Broken::Header(at));
        }
        // The checksum counts its own field as eight spaces.
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let field: u64 = field(header, 148, 8)
            .iter()
            .map(|byte| u64::from(*byte))
            .sum();
        if octal(header, 148, 8) != Some(sum - field + 8 * u64::from(b' ')) {
            return Err(Broken::Checksum(at));
        }
        let size = octal(header, 124, 12)
            .and_then(|size| usize::try_from(size).ok())
            .ok_or(Broken::Header(at))?;
        let bytes = rest
            .get(BLOCK..)
            .and_then(|rest| rest.get(..size))
            .ok_or(Broken::Truncated(at))?;
        // The padding of the last file may be missing.
        self.at = at
            .saturating_add(BLOCK)
            .saturating_add(size.next_multiple_of(BLOCK))
            .min(self.bytes.len());
        let regular = matches!(header[156], b'0' | 0);
        let name = if regular {
            text(field_text(header)).ok_or(Broken::Name(at))?
        } else {
            ""
        };
        Ok(Some(Entry {
            name: name.strip_prefix("./").unwrap_or(name),
            offset: (at + BLOCK) as u64,
            bytes,
        }))
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Entry<'b>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                Ok(Some(entry)) if entry.name.is_empty() => {}
                Ok(entry) => return entry.map(Ok),
                Err(broken) => {
                    self.at = self.bytes.len();
                    return Some(Err(broken));
                }
            }
        }
    }
}

fn field(header: &[u8; BLOCK], start: usize, length: usize) -> &[u8] {
    header.get(start..start + length).unwrap_or(&[])
}

fn field_text(header: &[u8; BLOCK]) -> &[u8] {
    field(header, 0, 100)
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

/// A number in octal digits, which may be padded by spaces and NULs.
fn octal(header: &[u8; BLOCK], start: usize, length: usize) -> Option<u64> {
    let digits = text(field(header, start, length))?.trim();
    u64::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests;
