//! A guest's flat file: loaded where the address fields of its multiboot header say (Multiboot 0.6.96, §3.1.3).

use std::error::Error;
use std::fs;

const MAGIC: u32 = 0x1bad_b002;
/// The header is in this part of the file.
const SEARCHED: usize = 8192;

/// A guest.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// What is loaded.
    pub(crate) bytes: Vec<u8>,
    /// Where to.
    pub(crate) address: u64,
    /// Where it starts.
    pub(crate) entry: u64,
}

impl Image {
    /// Reads a file. Its header's flags are not looked at: it is one of ours, with address fields.
    pub(crate) fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        };
        let header = (0..SEARCHED).step_by(4).find(|at| word(*at) == Some(MAGIC));
        let field = |number: usize| {
            header
                .and_then(|at| word(at + number * 4))
                .ok_or(format!("{path}: has no multiboot header"))
        };
        let (header_address, address, entry) = (field(3)?, field(4)?, field(7)?);
        let skipped = header
            .unwrap_or(0)
            .checked_sub(header_address.wrapping_sub(address) as usize);
        let skipped = skipped.ok_or(format!("{path}: is loaded from before its beginning"))?;
        Ok(Self {
            bytes: bytes[skipped..].to_vec(),
            address: u64::from(address),
            entry: u64::from(entry),
        })
    }
}
