//! Which kind of kernel a file is, told before anything starts. It is the loader server's own reader that tells: so nothing is refused here
//! that it would place, and the other way round.

use std::fs;
use std::io::Read;
use std::path::Path;

pub use atoll_loader::Format;
use atoll_loader::Refusal;
use flate2::read::GzDecoder;

use crate::error::{Error, Result};

const SETUP_SECTORS_AT: usize = 0x1f1;
const SYSTEM_SIZE_AT: usize = 0x1f4;
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// More than any kernel has.
const LARGEST: u64 = 1 << 30;

/// Reads and recognises a kernel. One that is packed as a whole, as Debian has Xen's and the Hurd's, is unpacked; a bzImage unpacks itself.
pub fn read(path: &Path) -> Result<(Format, Vec<u8>)> {
    let mut bytes = fs::read(path).map_err(Error::file(path))?;
    if bytes.starts_with(&GZIP) {
        bytes = unpack(&bytes).map_err(|why| Error::guest(path, why))?;
    }
    match Format::of(&bytes) {
        Ok(format) => match missing(format, &bytes) {
            Some(length) => Err(Error::guest(
                path,
                format_args!(
                    "is cut short: it has {} bytes, and its header tells of {length}",
                    bytes.len()
                ),
            )),
            None => Ok((format, bytes)),
        },
        Err(Refusal::Format) => Err(Error::guest(
            path,
            "is neither a bzImage, nor a multiboot kernel, nor an ELF with a PVH note",
        )),
        Err(why) => Err(Error::guest(path, format!("cannot be booted: {why}"))),
    }
}

fn unpack(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = GzDecoder::new(bytes)
        .take(LARGEST)
        .read_to_end(&mut unpacked);
    match read {
        Ok(_) if (unpacked.len() as u64) < LARGEST => Ok(unpacked),
        Ok(_) => Err("holds more than a kernel can have".to_owned()),
        Err(why) => Err(format!("is a gzip file that cannot be unpacked: {why}")),
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

/// Memory that a kernel needs from address 0 on until it looks after itself.
#[must_use]
pub fn memory_needed(bytes: &[u8]) -> u64 {
    Format::memory_needed(bytes).unwrap_or(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A kernel that is nothing but a multiboot header.
    fn multiboot() -> Vec<u8> {
        let magic = 0x1bad_b002_u32;
        let words = [0, magic, 0, magic.wrapping_neg()];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_multiboot_kernel_in_a_gzip_file_is_unpacked() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&multiboot()).unwrap();
        let packed = packed.finish().unwrap();
        let (format, bytes) = read(file(&packed).path()).unwrap();
        assert_eq!((format, bytes), (Format::Multiboot, multiboot()));
        let cut = read(file(&packed[..packed.len() - 9]).path()).unwrap_err();
        assert!(cut.to_string().contains("cannot be unpacked"), "{cut}");
    }

    #[test]
    fn a_kernel_that_is_cut_short_is_refused_with_what_its_header_tells() {
        let mut image = vec![0; 0x5000];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&[3, 2]);
        image[0x211] = 1;
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
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("is cut short: it has 16384 bytes, and its header tells of 20480"),
            "{error}"
        );
    }

    #[test]
    fn text_is_no_kernel_and_the_error_says_what_is() {
        for bytes in [&b"#!/bin/sh\n"[..], b""] {
            let error = read(file(bytes).path()).unwrap_err().to_string();
            assert!(
                error.contains("neither a bzImage, nor a multiboot kernel"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_bzimage_from_before_protocol_2_10_needs_its_size_above_one_mebibyte() {
        // What follows its header, which ends at 0x230, is code.
        let mut image = vec![0x77; 0x8000];
        image[0x1f1] = 1;
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x200..0x206].copy_from_slice(b"\xeb\x2aHdrS");
        image[0x206..0x208].copy_from_slice(&[3, 2]);
        image[0x211] = 1;
        image[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
        assert_eq!(Format::of(&image).unwrap(), Format::BzImage);
        assert_eq!(memory_needed(&image), (1 << 20) + 0x8000 - 0x400);
    }
}
