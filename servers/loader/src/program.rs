//! Kernels in ELF files, 32-bit or 64-bit, placed by physical address.

use atoll_sdk::bundle::Entry;
use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;

use crate::memory::Ram;
use crate::placer::{Placer, part};
use crate::refusal::Refusal;

/// Most loadable segments: real kernels have about five.
const SEGMENTS: usize = 32;

/// An ELF file.
pub(crate) struct Program<'b> {
    pub(crate) file: Entry<'b>,
    pub(crate) elf: ElfBytes<'b, LittleEndian>,
}

/// Where it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte after it.
    pub(crate) end: u64,
    /// Bytes of the file that were placed.
    pub(crate) size: u64,
}

impl<'b> Program<'b> {
    /// Reads the headers; `None` if this is no ELF file for x86.
    pub(crate) fn read(file: &Entry<'b>) -> Option<Program<'b>> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file.bytes).ok()?;
        matches!(elf.ehdr.e_machine, EM_386 | EM_X86_64).then_some(Program { file: *file, elf })
    }

    fn segments(&self) -> impl Iterator<Item = ProgramHeader> {
        let segments = self.elf.segments().into_iter().flatten();
        segments.filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0)
    }

    /// Where its segments are in memory, and their sizes.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        self.segments()
            .map(|segment| (segment.p_paddr, segment.p_memsz))
    }

    /// Checks all segments; nothing is placed.
    pub(crate) fn extent(&self, ram: Ram) -> Result<Extent, Refusal> {
        let mut extent = Extent { end: 0, size: 0 };
        let damaged = Refusal::Damaged("program header");
        for (number, segment) in self.segments().enumerate() {
            let (at, size) = (segment.p_paddr, segment.p_memsz);
            if number >= SEGMENTS || segment.p_filesz > size {
                return Err(damaged);
            }
            part(&self.file, segment.p_offset, segment.p_filesz).ok_or(damaged)?;
            if !ram.holds(at, size) {
                return Err(Refusal::NoRoom {
                    what: "the kernel",
                    size,
                    at,
                });
            }
            extent.end = extent.end.max(at + size);
            extent.size += segment.p_filesz;
        }
        if extent.end == 0 {
            Err(damaged)
        } else {
            Ok(extent)
        }
    }

    /// Places all segments, and clears what the file does not fill.
    pub(crate) fn place(&self, placer: &mut Placer<'_, '_>) {
        for segment in self.segments().take(SEGMENTS) {
            if let Some(bytes) = part(&self.file, segment.p_offset, segment.p_filesz) {
                placer.copy(segment.p_paddr, &bytes);
                placer.zero(
                    segment.p_paddr + segment.p_filesz,
                    segment.p_memsz - segment.p_filesz,
                );
            }
        }
    }
}
