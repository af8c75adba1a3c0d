//! What the loader says about the machine: PVH's `hvm_start_info`, its memory map, and the module that is our bundle.
//!
//! Everything is copied out before any frame is given away, so that nothing here needs protection afterwards. What is malformed stops
//! the boot: there is no one to ask. Xen's `arch-x86/hvm/start_info.h`, version 1.

use core::ops::Range;

use atoll_protocol::units::Hpa;
use zerocopy::FromBytes;

use crate::memory::direct;

/// Most entries of a memory map that are kept.
const REGIONS: usize = 64;
/// `hvm_start_info.magic`.
const MAGIC: u32 = 0x336e_c578;
/// Usable memory in the map.
const RAM: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct MapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A stretch of physical memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Region {
    /// First byte.
    pub(crate) start: Hpa,
    /// First byte after it.
    pub(crate) end: Hpa,
    /// Usable RAM, as opposed to reserved.
    pub(crate) usable: bool,
}

/// What is known of the machine at boot.
pub(crate) struct BootInfo {
    regions: [Region; REGIONS],
    count: usize,
    /// The bundle: module 0; empty without one.
    pub(crate) bundle: Range<Hpa>,
}

impl BootInfo {
    /// Reads the loader's tables; `start_info` is what it left in EBX.
    pub(crate) fn read(start_info: Hpa) -> Self {
        let info: StartInfo = direct::copy_in(start_info);
        assert!(info.magic == MAGIC && info.version >= 1, "not entered by PVH version 1 or later");
        let mut boot = BootInfo { regions: [Region::default(); REGIONS], count: 0, bundle: Hpa(0)..Hpa(0) };
        for index in 0..u64::from(info.memory_map_entries) {
            let entry: MapEntry = direct::copy_in(Hpa(info.memory_map + index * size_of::<MapEntry>() as u64));
            let region = Region { start: Hpa(entry.address), end: Hpa(entry.address + entry.size), usable: entry.kind == RAM };
            assert!(boot.count < REGIONS, "memory map of more than {REGIONS} entries");
            boot.regions[boot.count] = region;
            boot.count += 1;
        }
        if info.modules > 0 {
            let module: Module = direct::copy_in(Hpa(info.module_list));
            boot.bundle = Hpa(module.address)..Hpa(module.address + module.size);
        }
        boot
    }

    /// The memory map.
    pub(crate) fn memory(&self) -> &[Region] {
        &self.regions[..self.count]
    }
}
