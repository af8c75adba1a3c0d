//! The kernel's own page tables, in place of those of [`super::entry`].
//!
//! The kernel's image in 4 KiB pages, each section with just its rights (no page is both writable and executable) and the guards of the
//! stacks left out; the direct map writable, never executable, uncached where there is no RAM; the identity map gone. Every address
//! space shares this upper half. AMD APM vol. 2 §5.3 (long-mode translation), §5.6 (protection), §7.8 (cacheability).

use atoll_protocol::units::Hpa;
use x86_64::registers::control::Cr3;

use super::KERNEL_BASE;
use super::start_info::Region;
use crate::memory::direct::{DIRECT_MAP, DIRECT_MAP_SIZE};
use crate::memory::frames::Frames;
use crate::memory::paging::{self, LARGE, NO_CACHE, NO_EXECUTE, PAGE_SIZE, PRESENT, PageSize, WRITE};
use crate::x86::stacks;

/// The low addresses that are mapped whether there is RAM or not: devices live there.
const LOW: u64 = 1 << 32;

// SAFETY: `kernel.ld` defines these symbols; only their addresses are used.
unsafe extern "C" {
    static kernel_start: u8;
    static kernel_rodata: u8;
    static kernel_data: u8;
    static kernel_end: u8;
}

/// Physical addresses of the kernel's image.
pub(crate) fn image() -> core::ops::Range<Hpa> {
    Hpa((&raw const kernel_start).addr() as u64 - KERNEL_BASE)..Hpa((&raw const kernel_end).addr() as u64 - KERNEL_BASE)
}

/// Builds the kernel's tables and switches to them; gives back the root. `frames` must only hold memory below 4 GiB so far.
pub(super) fn build(regions: &[Region], frames: &mut Frames) -> Hpa {
    let root = frames.alloc().expect("no memory for the kernel's page tables").into_hpa();
    map_direct(root, regions, frames);
    map_image(root, frames);
    let root_frame = x86_64::structures::paging::PhysFrame::containing_address(x86_64::PhysAddr::new(root.0));
    // SAFETY: `root` maps the kernel's code, data and stacks where they are now, and the direct map.
    unsafe { Cr3::write(root_frame, x86_64::registers::control::Cr3Flags::empty()) };
    root
}

/// Every 2 MiB of the low 4 GiB and of RAM above.
fn map_direct(root: Hpa, regions: &[Region], frames: &mut Frames) {
    let end = regions.iter().filter(|region| region.usable).map(|region| region.end.0).max().unwrap_or(0);
    let mut address = 0;
    while address < end.clamp(LOW, DIRECT_MAP_SIZE) {
        let page = address..address + PageSize::Large.bytes();
        let ram = regions.iter().any(|region| region.usable && region.start.0 < page.end && page.start < region.end.0);
        if ram || address < LOW {
            let cache = if ram { 0 } else { NO_CACHE };
            let entry = address | PRESENT | WRITE | NO_EXECUTE | LARGE | cache;
            paging::insert(root, DIRECT_MAP + address, entry, PageSize::Large, frames).expect("direct map");
        }
        address = page.end;
    }
}

/// The image, section by section.
fn map_image(root: Hpa, frames: &mut Frames) {
    let (rodata, data) = ((&raw const kernel_rodata).addr() as u64, (&raw const kernel_data).addr() as u64);
    let image = image();
    let mut address = KERNEL_BASE + image.start.0;
    while address < KERNEL_BASE + image.end.0 {
        let rights = match address {
            _ if address < rodata => 0,
            _ if address < data => NO_EXECUTE,
            _ => WRITE | NO_EXECUTE,
        };
        if !stacks::is_guard(address) {
            let entry = (address - KERNEL_BASE) | PRESENT | rights;
            paging::insert(root, address, entry, PageSize::Small, frames).expect("kernel image");
        }
        address += PAGE_SIZE;
    }
}
