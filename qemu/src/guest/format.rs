//! Which kind of kernel a file is, told before anything starts: the loader server would refuse it too, but later and less kindly.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// A kind of kernel that the loader can place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linux's own format (Documentation/arch/x86/boot.rst).
    BzImage,
    /// Multiboot 1.
    Multiboot,
    /// An ELF with a Xen PVH entry point.
    Pvh,
}

const SETUP_MAGIC: &[u8] = b"HdrS";
const SETUP_SECTORS_AT: usize = 0x1f1;
const SYSTEM_SIZE_AT: usize = 0x1f4;
const SETUP_MAGIC_AT: usize = 0x202;
const PREFERRED_ADDRESS_AT: usize = 0x258;
const INIT_SIZE_AT: usize = 0x260;
const MULTIBOOT_MAGIC: u32 = 0x1bad_b002;
const MULTIBOOT_SEARCH: usize = 8192;
/// Type of the note that gives a PVH entry point (Xen's `XEN_ELFNOTE_PHYS32_ENTRY`).
const PVH_NOTE: object::elf::NoteType = object::elf::NoteType(18);

impl Format {
    /// Reads and recognises a kernel.
    pub fn read(path: &Path) -> Result<(Self, Vec<u8>)> {
        let bytes = fs::read(path).map_err(Error::file(path))?;
        match Self::of(&bytes) {
            Some(format) => match missing(format, &bytes) {
                Some(length) => Err(Error::guest(
                    path,
                    format_args!(
                        "is cut short: it has {} bytes, and its header tells of {length}",
                        bytes.len()
                    ),
                )),
                None => Ok((format, bytes)),
            },
            None => Err(Error::guest(
                path,
                "is neither a bzImage, nor a multiboot kernel, nor an ELF with a PVH note",
            )),
        }
    }

    /// Recognises a kernel by its first bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.get(SETUP_MAGIC_AT..SETUP_MAGIC_AT + SETUP_MAGIC.len()) == Some(SETUP_MAGIC) {
            Some(Self::BzImage)
        } else if multiboot_header(bytes).is_some() {
            Some(Self::Multiboot)
        } else if has_pvh_note(bytes) {
            Some(Self::Pvh)
        } else {
            None
        }
    }
}

/// The length that a kernel's header tells of, where the file is shorter (boot.rst, `setup_sects` and `syssize`; the program headers of an ELF).
fn missing(format: Format, bytes: &[u8]) -> Option<u64> {
    let whole = match format {
        Format::BzImage => {
            let sectors = match number(bytes, SETUP_SECTORS_AT, 1) {
                // As it was before there was such a field.
                0 => 4,
                sectors => sectors,
            };
            (sectors + 1) * 512 + number(bytes, SYSTEM_SIZE_AT, 4) * 16
        }
        Format::Multiboot | Format::Pvh => elf_length(bytes).unwrap_or(0),
    };
    Some(whole).filter(|whole| *whole > bytes.len() as u64)
}

/// Where the last segment of an ELF ends in its file.
fn elf_length(bytes: &[u8]) -> Option<u64> {
    use object::Endianness;
    use object::elf::{FileHeader32, FileHeader64};
    use object::read::elf::{FileHeader, ProgramHeader};
    fn length<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<u64> {
        let header = H::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let table = header.e_phoff(endian).into();
        let Ok(segments) = header.program_headers(endian, bytes) else {
            // Not even the table of them is there.
            return Some(
                table + u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian)),
            );
        };
        let end = |segment: &H::ProgramHeader| {
            let (offset, size) = (
                segment.p_offset(endian).into(),
                segment.p_filesz(endian).into(),
            );
            u64::checked_add(offset, size)
        };
        segments.iter().filter_map(end).max()
    }
    match object::FileKind::parse(bytes).ok()? {
        object::FileKind::Elf32 => length::<FileHeader32<Endianness>>(bytes),
        object::FileKind::Elf64 => length::<FileHeader64<Endianness>>(bytes),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let field = bytes.get(at..at + size).unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Memory that a kernel needs from address 0 on until it looks after itself: a bzImage says it (boot.rst, `pref_address` and
/// `init_size`), of others the file's size is known.
#[must_use]
pub fn memory_needed(format: Format, bytes: &[u8]) -> u64 {
    match format {
        Format::BzImage => {
            number(bytes, PREFERRED_ADDRESS_AT, 8).saturating_add(number(bytes, INIT_SIZE_AT, 4))
        }
        Format::Multiboot | Format::Pvh => bytes.len() as u64,
    }
}

/// Offset of the multiboot header: aligned, in the first 8 KiB, with a checksum that makes it unlikely to be met by chance.
#[must_use]
pub fn multiboot_header(bytes: &[u8]) -> Option<usize> {
    let head = &bytes[..bytes.len().min(MULTIBOOT_SEARCH)];
    let word = |at: usize| {
        head.get(at..at + 4).map_or(0, |word| {
            u32::from_le_bytes([word[0], word[1], word[2], word[3]])
        })
    };
    (0..head.len()).step_by(4).find(|&at| {
        word(at) == MULTIBOOT_MAGIC
            && word(at)
                .wrapping_add(word(at + 4))
                .wrapping_add(word(at + 8))
                == 0
    })
}

fn has_pvh_note(bytes: &[u8]) -> bool {
    use object::elf::FileHeader64;
    use object::read::elf::{FileHeader, ProgramHeader};
    let Ok(header) = FileHeader64::<object::Endianness>::parse(bytes) else {
        return false;
    };
    let Ok(endian) = header.endian() else {
        return false;
    };
    let Ok(segments) = header.program_headers(endian, bytes) else {
        return false;
    };
    segments.iter().any(|segment| {
        let Ok(Some(mut notes)) = segment.notes(endian, bytes) else {
            return false;
        };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Xen" && note.n_type(endian) == PVH_NOTE {
                return true;
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bzimage_is_known_by_the_magic_in_its_setup_header() {
        let mut image = vec![0; 1024];
        image[SETUP_MAGIC_AT..][..4].copy_from_slice(SETUP_MAGIC);
        assert_eq!(Format::of(&image), Some(Format::BzImage));
    }

    #[test]
    fn a_multiboot_magic_without_its_checksum_is_no_header() {
        let mut image = vec![0; 64];
        image[32..36].copy_from_slice(&MULTIBOOT_MAGIC.to_le_bytes());
        assert_eq!(Format::of(&image), None);
        image[40..44].copy_from_slice(&MULTIBOOT_MAGIC.wrapping_neg().to_le_bytes());
        assert_eq!(Format::of(&image), Some(Format::Multiboot));
    }

    #[test]
    fn a_kernel_that_is_cut_short_is_refused_with_what_its_header_tells() {
        let mut image = vec![0; 0x5000];
        image[SETUP_MAGIC_AT..][..4].copy_from_slice(SETUP_MAGIC);
        image[SETUP_SECTORS_AT] = 1;
        image[SYSTEM_SIZE_AT..][..2].copy_from_slice(&0x4c0_u16.to_le_bytes());
        assert_eq!(missing(Format::BzImage, &image), None);
        assert_eq!(missing(Format::BzImage, &image[..0x4fff]), Some(0x5000));

        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(missing(Format::Pvh, &program), None);
        let half = &program[..program.len().min(5000)];
        assert!(missing(Format::Pvh, half).is_some_and(|whole| whole <= program.len() as u64));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bzImage");
        std::fs::write(&path, &image[..0x4000]).unwrap();
        let error = Format::read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("is cut short: it has 16384 bytes, and its header tells of 20480"),
            "{error}"
        );
    }

    #[test]
    fn text_is_no_kernel() {
        assert_eq!(Format::of(b"#!/bin/sh\n"), None);
        assert_eq!(Format::of(b""), None);
    }
}
