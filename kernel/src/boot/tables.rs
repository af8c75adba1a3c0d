//! The kernel's own page tables, in place of those of [`super::entry`].
//!
//! The kernel's image in 4 KiB pages, each section with just its rights (no page is both writable and executable) and the guards of the
//! stacks left out; the direct map writable, never executable, uncached where there is no RAM; the identity map gone. Every address
//! space shares this upper half. AMD APM vol. 2 §5.3 (long-mode translation), §5.6 (protection), §7.8 (cacheability).

use core::ops::Range;

use atoll_core::quirks::Quirks;
use atoll_protocol::layout::MSR_MAPS;
use atoll_protocol::units::Hpa;

use crate::cpu::stacks;
use crate::memory::frames::Frames;
use crate::memory::layout::{DIRECT_MAP, DIRECT_MAP_SIZE, KERNEL_BASE, PAGE_SIZE, image_address};
use crate::memory::paging::{self, MapError, PageSize, PageTableFlags, UNCACHED};
use crate::memory::space::{self, KERNEL_ROOT};

/// The low addresses that are mapped whether there is RAM or not: devices live there.
const LOW: u64 = 1 << 32;
/// Writable, and never executable.
const DATA: PageTableFlags = PageTableFlags::WRITABLE.union(PageTableFlags::NO_EXECUTE);

// SAFETY: `kernel.ld` defines these symbols; only their addresses are used.
unsafe extern "C" {
    static kernel_start: u8;
    static kernel_rodata: u8;
    static kernel_data: u8;
    static kernel_end: u8;
}

/// Physical addresses of the kernel's image.
pub(crate) fn image() -> Range<Hpa> {
    image_address(&raw const kernel_start)..image_address(&raw const kernel_end)
}

/// Builds the kernel's tables and switches to them. `frames` must only hold memory below 4 GiB so far.
pub(super) fn build(ram: &[Range<Hpa>], quirks: Quirks, frames: &mut Frames) {
    map_direct(KERNEL_ROOT.address(), ram, frames);
    if quirks.looks_up_wide_msrs {
        map_msr_maps(KERNEL_ROOT.address(), frames);
    }
    map_image(KERNEL_ROOT.address(), frames);
    space::load_kernel();
}

/// 2 MiB of the direct map.
fn map_large(
    root: Hpa,
    address: u64,
    flags: PageTableFlags,
    frames: &mut Frames,
) -> Result<(), MapError> {
    let (at, to) = (DIRECT_MAP + address, Hpa(address));
    paging::insert(root, at, to, flags, PageSize::Large, frames)
}

/// Every 2 MiB of the low 4 GiB and of RAM above.
fn map_direct(root: Hpa, ram: &[Range<Hpa>], frames: &mut Frames) {
    let end = ram.iter().map(|ram| ram.end.0).max().unwrap_or(0);
    for address in (0..end.clamp(LOW, DIRECT_MAP_SIZE)).step_by(PageSize::Large.bytes() as usize) {
        let is_ram = ram
            .iter()
            .any(|ram| ram.start.0 < address + PageSize::Large.bytes() && address < ram.end.0);
        if is_ram || address < LOW {
            let mut flags = DATA;
            flags.set(UNCACHED, !is_ram);
            map_large(root, address, flags, frames).expect("direct map");
        }
    }
}

/// Where QEMU may have memory that no map of memory tells of.
fn map_msr_maps(root: Hpa, frames: &mut Frames) {
    for address in MSR_MAPS {
        match map_large(root, address, DATA, frames) {
            // A machine with so much memory has it mapped.
            Ok(()) | Err(MapError::Occupied) => {}
            Err(error) => panic!("direct map: {error:?}"),
        }
    }
}

/// The image, section by section.
fn map_image(root: Hpa, frames: &mut Frames) {
    let (rodata, data) = (
        (&raw const kernel_rodata).addr() as u64,
        (&raw const kernel_data).addr() as u64,
    );
    let image = image();
    for page in (image.start.0..image.end.0).step_by(PAGE_SIZE as usize) {
        let address = KERNEL_BASE + page;
        let rights = match address {
            _ if address < rodata => PageTableFlags::empty(),
            _ if address < data => PageTableFlags::NO_EXECUTE,
            _ => DATA,
        };
        if !stacks::is_guard(address) {
            paging::insert(root, address, Hpa(page), rights, PageSize::Small, frames)
                .expect("kernel image");
        }
    }
}
