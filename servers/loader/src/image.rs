//! Which kind of kernel a file is. The host tool asks as well, before it starts anything.

use atoll_sdk::bundle::Entry;

use crate::linux;
use crate::memory::HIGH;
use crate::multiboot;
use crate::program::Program;
use crate::pvh;
use crate::refusal::Refusal;

/// A kind of kernel that the loader can place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linux's own format (Documentation/arch/x86/boot.rst).
    BzImage,
    /// Multiboot 1.
    Multiboot,
    /// An ELF file with a Xen PVH entry point.
    Pvh,
}

impl Format {
    /// Recognises a kernel.
    ///
    /// # Errors
    /// It is of no known format, or broken.
    pub fn of(kernel: &[u8]) -> Result<Format, Refusal> {
        Ok(match Image::read(&alone(kernel))? {
            Image::Linux(_) => Format::BzImage,
            Image::Multiboot(_) => Format::Multiboot,
            Image::Pvh(..) => Format::Pvh,
        })
    }

    /// Memory that a kernel needs from address 0 on until it looks after itself.
    ///
    /// # Errors
    /// It is of no known format, or broken.
    pub fn memory_needed(kernel: &[u8]) -> Result<u64, Refusal> {
        let size = kernel.len() as u64;
        Ok(match Image::read(&alone(kernel))? {
            Image::Linux(header) => linux::memory_needed(&header, size),
            Image::Multiboot(_) | Image::Pvh(..) => HIGH + size,
        })
    }
}

fn alone(kernel: &[u8]) -> Entry<'_> {
    Entry {
        name: "guest/kernel",
        offset: 0,
        bytes: kernel,
    }
}

/// A kernel of a known format.
pub(crate) enum Image<'b> {
    /// A bzImage.
    Linux(linux::Header),
    /// A multiboot kernel.
    Multiboot(multiboot::Header),
    /// An ELF file, and its PVH entry point.
    Pvh(Program<'b>, u64),
}

impl<'b> Image<'b> {
    /// Recognises a kernel.
    pub(crate) fn read(file: &Entry<'b>) -> Result<Image<'b>, Refusal> {
        if let Some(header) = linux::Header::read(file)? {
            return Ok(Image::Linux(header));
        }
        if let Some(header) = multiboot::Header::read(file)? {
            return Ok(Image::Multiboot(header));
        }
        let program = Program::read(file).ok_or(Refusal::Format)?;
        let entry = pvh::entry(&program).ok_or(Refusal::Format)?;
        Ok(Image::Pvh(program, entry))
    }
}
