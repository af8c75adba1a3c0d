//! The guests in `qemu/guests`: multiboot kernels. QEMU's multiboot loader and Atoll's take no ELF64, so each is made into the flat
//! file that its header's address fields describe (Multiboot 0.6.96, §3.1.3).

use std::fs;
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::linux::Kernel;
use crate::bare::{self, Toolchain};
use crate::error::{Error, Result};
use crate::place;

/// Where the sources of in-tree guests are.
fn sources() -> Result<PathBuf> {
    Ok(place::workspace()?.join("qemu/guests/src/bin"))
}

/// Names of all in-tree guests.
pub fn names() -> Result<Vec<String>> {
    let dir = sources()?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::file(&dir))? {
        let path = entry.map_err(Error::file(&dir))?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// Builds an in-tree guest and gives its path and its flat file.
pub fn build(name: &str, toolchain: &Toolchain) -> Result<(PathBuf, Vec<u8>)> {
    let known = names()?;
    if !known.iter().any(|other| other == name) {
        let kernels = Kernel::ALL.map(|(name, _)| name).join(", ");
        let what = format!(
            "there is no guest '{name}' (there are: {kernels}, {})",
            known.join(", ")
        );
        return Err(Error::Usage { what });
    }
    let path = bare::guest(&place::workspace()?, toolchain, name)?.program(name);
    let file = fs::read(&path).map_err(Error::file(&path))?;
    let flat = flatten(&path, &file)?;
    Ok((path, flat))
}

/// A program's memory from its first loaded byte to its last one that comes from the file.
pub fn flatten(path: &Path, file: &[u8]) -> Result<Vec<u8>> {
    let wrong = |error: object::Error| Error::guest(path, error);
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(wrong)?;
    let headers = header.program_headers(LittleEndian, file).map_err(wrong)?;
    let loaded = || {
        headers.iter().filter(|part| {
            part.p_type(LittleEndian) == elf::PT_LOAD && part.p_filesz(LittleEndian) > 0
        })
    };
    let start = loaded()
        .map(|part| part.p_paddr(LittleEndian))
        .min()
        .unwrap_or(0);
    let mut flat = Vec::new();
    for part in loaded() {
        let bytes = part
            .data(LittleEndian, file)
            .map_err(|()| Error::guest(path, "is cut off"))?;
        let at = usize::try_from(part.p_paddr(LittleEndian) - start)
            .map_err(|_| Error::guest(path, "is too large"))?;
        let end = at
            .checked_add(bytes.len())
            .filter(|end| *end < 1 << 30)
            .ok_or_else(|| Error::guest(path, "is too large"))?;
        if flat.len() < end {
            flat.resize(end, 0);
        }
        flat[at..end].copy_from_slice(bytes);
    }
    if super::format::Format::of(&flat) != Ok(super::format::Format::Multiboot) {
        return Err(Error::guest(
            path,
            "has no multiboot header in its first 8 KiB",
        ));
    }
    Ok(flat)
}
