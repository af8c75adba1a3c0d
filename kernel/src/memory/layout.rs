//! Where the kernel's half of every address space has what.

use atoll_protocol::units::Hpa;

/// The smallest page.
pub(crate) const PAGE_SIZE: u64 = 0x1000;
/// Where physical address 0 is in the direct map.
pub(crate) const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Most memory that the direct map reaches: one entry of the top table.
pub(crate) const DIRECT_MAP_SIZE: u64 = 1 << 39;
/// What is added to a physical address of the kernel's image to give the address that it is linked at; `kernel.ld` has it, too.
pub(crate) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Physical address of something in the kernel's image.
#[inline(always)]
pub(crate) fn image_address<T>(at: *const T) -> Hpa {
    Hpa(at.addr() as u64 - KERNEL_BASE)
}
