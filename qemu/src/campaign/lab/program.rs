//! What a program is: what is loaded of its file. The rest names directories of whoever has built it, and does nothing.

use std::fs;
use std::path::Path;

use object::elf::{ET_EXEC, FileHeader32, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// SHA-256 of where it is entered, and of each segment: where it lies, how large it is, and its bytes.
pub fn hash_of_loaded(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::file(path))?;
    loaded(&bytes).ok_or_else(|| Error::guest(path, "is no ELF program"))
}

fn loaded(bytes: &[u8]) -> Option<String> {
    match FileKind::parse(bytes).ok()? {
        FileKind::Elf32 => hash::<FileHeader32<Endianness>>(bytes),
        FileKind::Elf64 => hash::<FileHeader64<Endianness>>(bytes),
        _ => None,
    }
}

fn hash<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<String> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.e_type(endian) != ET_EXEC {
        return None;
    }
    let mut hash = Sha256::new();
    let number = |hash: &mut Sha256, number: u64| hash.update(number.to_le_bytes());
    number(&mut hash, header.e_entry(endian).into());
    let segments = header.program_headers(endian, bytes).ok()?;
    for segment in segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
    {
        for field in [
            segment.p_vaddr(endian),
            segment.p_paddr(endian),
            segment.p_memsz(endian),
        ] {
            number(&mut hash, field.into());
        }
        let content = segment.data(endian, bytes).ok()?;
        number(&mut hash, content.len() as u64);
        hash.update(content);
    }
    Some(
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF program of one segment with four bytes, and something behind it that is not loaded.
    fn program(code: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut file = vec![
            0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0,
        ];
        for word in [0x10_0000_u64, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        for word in [120_u64, 0x10_0000, 0x10_0000, 4, 4, 4096] {
            file.extend(word.to_le_bytes());
        }
        file.extend(code);
        file.extend(rest);
        file
    }

    #[test]
    fn a_program_is_the_same_wherever_it_was_built_and_another_with_other_code() {
        let here = loaded(&program([1, 2, 3, 4], b"/home/one/atoll/kernel")).unwrap();
        let there = loaded(&program([1, 2, 3, 4], b"/srv/two/kernel")).unwrap();
        let other = loaded(&program([1, 2, 3, 5], b"/home/one/atoll/kernel")).unwrap();
        assert_eq!(here, there);
        assert_ne!(here, other);
        assert_eq!(loaded(b"no program"), None);
    }
}
