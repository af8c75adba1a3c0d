//! Why a guest cannot be loaded.

use core::fmt;

use atoll_sdk::bundle::Broken;

/// The reason, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bundle is broken.
    Archive(Broken),
    /// There is no `guest/kernel`.
    NoKernel,
    /// There is no `zeros`.
    NoZeros,
    /// The kernel is of no known format.
    Format,
    /// The kernel is of a known format, but this part of it is broken.
    Damaged(&'static str),
    /// A Linux kernel of a boot protocol before 2.00, or a zImage.
    OldLinux(u16),
    /// A multiboot kernel demands what this loader does not know.
    Demands(u32),
    /// The command line is longer than the kernel takes.
    CommandLine {
        /// Bytes of the line.
        length: u64,
        /// Most bytes that the kernel takes.
        most: u64,
    },
    /// Guest memory has no room for this.
    NoRoom {
        /// What does not fit.
        what: &'static str,
        /// Bytes needed, from `at` on where that is fixed.
        size: u64,
        /// Where it has to be, or 0.
        at: u64,
    },
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Refusal::Archive(broken)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Archive(broken) => write!(f, "{broken}"),
            Refusal::NoKernel => f.write_str("the bundle has no `guest/kernel`"),
            Refusal::NoZeros => f.write_str("the bundle has no `zeros`, which memory is cleared with"),
            Refusal::Format => f.write_str("the kernel is neither a bzImage, nor multiboot 1, nor an ELF file with a PVH entry"),
            Refusal::Damaged(part) => write!(f, "the kernel's {part} is damaged"),
            Refusal::OldLinux(version) => {
                write!(f, "Linux boot protocol {}.{:02} or a zImage is too old", version >> 8, version & 0xff)
            }
            Refusal::Demands(flags) => write!(f, "the kernel demands unknown multiboot features {flags:#x}"),
            Refusal::CommandLine { length, most } => {
                write!(f, "the command line has {length} bytes, the kernel takes {most}")
            }
            Refusal::NoRoom { what, size, at: 0 } => write!(f, "guest memory has no room for {size} bytes of {what}"),
            Refusal::NoRoom { what, size, at } => {
                write!(f, "guest memory has no room for {size} bytes of {what} at {at:#x}")
            }
        }
    }
}
