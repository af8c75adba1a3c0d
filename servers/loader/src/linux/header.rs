//! The setup header in a bzImage's first sectors.

use atoll_sdk::bundle::Entry;

use crate::memory::HIGH;
use crate::refusal::Refusal;

/// Sector size of the setup code.
const SECTOR: u64 = 512;
/// Where the header begins, in the file as in the boot parameters.
pub(crate) const START: usize = 0x1f1;

/// Where the boot parameters' next field begins: no header is longer.
const END: usize = 0x290;

const BOOT_FLAG: u16 = 0xaa55;
const LOADED_HIGH: u8 = 1;
const LONG_ENTRY: u16 = 1;

/// What the loader needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// End of the header, in the file as in the boot parameters.
    pub(crate) end: usize,
    /// Bytes of real-mode code before the protected-mode kernel.
    pub(crate) setup_size: u64,
    /// Where the kernel prefers to be.
    pub(crate) preferred: u64,
    /// Whether it can be elsewhere.
    pub(crate) relocatable: bool,
    /// A power of two.
    pub(crate) alignment: u64,
    /// Bytes that it needs at first.
    pub(crate) init_size: u64,
    /// Highest address that the initrd may touch.
    pub(crate) initrd_max: u64,
    /// Most bytes of command line, without NUL.
    pub(crate) cmdline_size: u64,
    /// It has a 64-bit entry point.
    pub(crate) has_long_entry: bool,
}

fn byte(file: &[u8], at: usize) -> Option<u8> {
    file.get(at).copied()
}

fn half(file: &[u8], at: usize) -> Option<u16> {
    file.get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    file.get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

fn double(file: &[u8], at: usize) -> Option<u64> {
    file.get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

impl Header {
    /// Reads the header; `None` if the file is no Linux kernel.
    pub(crate) fn read(file: &Entry<'_>) -> Result<Option<Header>, Refusal> {
        let bytes = file.bytes;
        if half(bytes, 0x1fe) != Some(BOOT_FLAG) || bytes.get(0x202..0x206) != Some(b"HdrS") {
            return Ok(None);
        }
        Self::fields(bytes)
            .ok_or(Refusal::Damaged("setup header"))
            .and_then(|found| found)
            .map(Some)
    }

    /// The fields that the header's version has; `None` if the file ends before them.
    fn fields(bytes: &[u8]) -> Option<Result<Header, Refusal>> {
        let version = half(bytes, 0x206)?;
        if version < 0x200 || byte(bytes, 0x211)? & LOADED_HIGH == 0 {
            return Some(Err(Refusal::OldLinux(version)));
        }
        let sectors = match byte(bytes, START)? {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let since = |first, value: Option<u64>, before| {
            if version >= first {
                value
            } else {
                Some(before)
            }
        };
        let end = (0x202 + usize::from(byte(bytes, 0x201)?)).min(END);
        let alignment = since(0x205, word(bytes, 0x230).map(u64::from), HIGH)?;
        let header = Header {
            end,
            setup_size: (sectors + 1) * SECTOR,
            preferred: since(0x20a, double(bytes, 0x258), HIGH)?,
            relocatable: since(0x205, byte(bytes, 0x234).map(u64::from), 0)? != 0,
            alignment,
            init_size: since(0x20a, word(bytes, 0x260).map(u64::from), 0)?,
            initrd_max: since(0x203, word(bytes, 0x22c).map(u64::from), 0x37ff_ffff)?,
            cmdline_size: since(0x206, word(bytes, 0x238).map(u64::from), 255)?,
            has_long_entry: since(0x20c, half(bytes, 0x236).map(u64::from), 0)? as u16 & LONG_ENTRY
                != 0,
        };
        let sound = alignment.is_power_of_two() && bytes.len() >= end;
        Some(if sound {
            Ok(header)
        } else {
            Err(Refusal::Damaged("setup header"))
        })
    }
}
