//! The multiboot header (§3.1).

use atoll_sdk::bundle::Entry;

use crate::refusal::Refusal;

/// The header is within so many bytes, aligned to four.
const SEARCHED: usize = 8192;
const MAGIC: u32 = 0x1bad_b002;
/// What a kernel may demand: modules on pages, memory information, a video mode.
///
/// A video mode is granted in that its absence is told: the information says that there is none.
const UNDERSTOOD: u32 = 7;
/// Demands that a boot loader must refuse if it does not understand them.
const DEMANDS: u32 = 0xffff;
/// The header's address fields are valid.
const HAS_ADDRESSES: u32 = 1 << 16;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where a kernel goes that is no ELF file, or does not want to be taken as one.
    pub(crate) addresses: Option<Addresses>,
}

/// Where such a kernel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Where in the file it begins.
    pub(crate) file_offset: u64,
    /// Its first byte in memory.
    pub(crate) load: u64,
    /// The end of what is in the file; 0 for all of it.
    pub(crate) load_end: u64,
    /// The end of what has to be zero; 0 for nothing.
    pub(crate) bss_end: u64,
    /// Entry point.
    pub(crate) entry: u64,
}

impl Header {
    /// Searches the header; `None` if the file has none.
    pub(crate) fn read(file: &Entry<'_>) -> Result<Option<Header>, Refusal> {
        let searched = file.bytes.get(..SEARCHED).unwrap_or(file.bytes);
        let words = |offset: usize, index: usize| word(searched, offset + 4 * index);
        let is_header = |offset: &usize| {
            let sum = |flags: u32, check: u32| MAGIC.wrapping_add(flags).wrapping_add(check);
            words(*offset, 0) == Some(MAGIC)
                && words(*offset, 1)
                    .zip(words(*offset, 2))
                    .is_some_and(|(f, c)| sum(f, c) == 0)
        };
        let Some(offset) = (0..searched.len()).step_by(4).find(is_header) else {
            return Ok(None);
        };
        let flags = words(offset, 1).unwrap_or(0);
        if flags & DEMANDS & !UNDERSTOOD != 0 {
            return Err(Refusal::Demands(flags & DEMANDS & !UNDERSTOOD));
        }
        let damaged = Refusal::Damaged("multiboot header");
        let addresses = match flags & HAS_ADDRESSES {
            0 => None,
            _ => Some(
                Self::addresses(offset, |index| words(offset, index).map(u64::from))
                    .ok_or(damaged)?,
            ),
        };
        Ok(Some(Header { addresses }))
    }

    /// The address fields. The header's own address says which byte of the file is the first in memory.
    fn addresses(offset: usize, word: impl Fn(usize) -> Option<u64>) -> Option<Addresses> {
        let (header, load) = (word(3)?, word(4)?);
        let before = header.checked_sub(load)?;
        let file_offset = (offset as u64).checked_sub(before)?;
        Some(Addresses {
            file_offset,
            load,
            load_end: word(5)?,
            bss_end: word(6)?,
            entry: word(7)?,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}
