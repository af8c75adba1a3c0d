//! The zero page: `struct boot_params` (Documentation/arch/x86/zero-page.rst).

use atoll_sdk::bundle::Entry;

use super::header::{Header, START};
use crate::files::Initrd;
use crate::memory::{ACPI, CMDLINE, Ram};

/// Bytes of the page.
pub(crate) const SIZE: usize = 4096;

/// Offsets in the page.
const EXT_MEM_K: usize = 0x2;
const ALT_MEM_K: usize = 0x1e0;
const ACPI_RSDP: usize = 0x70;
const E820_ENTRIES: usize = 0x1e8;
const VID_MODE: usize = 0x1fa;
const TYPE_OF_LOADER: usize = 0x210;
const CODE32_START: usize = 0x214;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY: usize = 20;

/// A boot loader without a number of its own.
const UNDEFINED_LOADER: u8 = 0xff;
/// "Normal" text mode.
const NORMAL_MODE: u16 = 0xffff;

/// Bytes at an offset; the offsets here are all inside the page.
fn put(page: &mut [u8; SIZE], at: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The page for a kernel at `load`; the initrd lies below 4 GiB.
pub(crate) fn page(
    header: &Header,
    kernel: &Entry<'_>,
    load: u64,
    ramdisk: Initrd,
    ram: Ram,
) -> [u8; SIZE] {
    let mut page = [0; SIZE];
    put(
        &mut page,
        START,
        kernel.bytes.get(START..header.end).unwrap_or(&[]),
    );
    put(&mut page, VID_MODE, &NORMAL_MODE.to_le_bytes());
    put(&mut page, TYPE_OF_LOADER, &[UNDEFINED_LOADER]);
    put(&mut page, CODE32_START, &(load as u32).to_le_bytes());
    put(&mut page, RAMDISK_IMAGE, &(ramdisk.at as u32).to_le_bytes());
    put(
        &mut page,
        RAMDISK_SIZE,
        &(ramdisk.size as u32).to_le_bytes(),
    );
    put(&mut page, CMD_LINE_PTR, &(CMDLINE as u32).to_le_bytes());
    put(&mut page, ACPI_RSDP, &ACPI.to_le_bytes());
    let (_, above) = ram.kib();
    put(
        &mut page,
        EXT_MEM_K,
        &u16::try_from(above).unwrap_or(u16::MAX).to_le_bytes(),
    );
    put(&mut page, ALT_MEM_K, &above.to_le_bytes());
    let mut entries = 0;
    for region in ram.map() {
        let at = E820_TABLE + usize::from(entries) * E820_ENTRY;
        put(&mut page, at, &region.base.to_le_bytes());
        put(&mut page, at + 8, &region.size.to_le_bytes());
        put(&mut page, at + 16, &(region.kind as u32).to_le_bytes());
        entries += 1;
    }
    put(&mut page, E820_ENTRIES, &[entries]);
    page
}
