//! What the loader says about the machine: PVH's `hvm_start_info`, its memory map, and the module that is our bundle.
//!
//! Everything is copied out before any frame is given away, so that nothing here needs protection afterwards. What is malformed stops
//! the boot: there is no one to ask. Xen's `arch-x86/hvm/start_info.h`, version 1.

use core::ops::Range;

use atoll_protocol::units::Hpa;
use zerocopy::FromBytes;

use crate::memory::direct;

/// Most stretches of RAM in a memory map.
const RANGES: usize = 64;
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

/// What is known of the machine at boot.
pub(crate) struct BootInfo {
    ram: [Range<Hpa>; RANGES],
    count: usize,
    /// The bundle: module 0; empty without one.
    pub(crate) bundle: Range<Hpa>,
}

impl BootInfo {
    /// Reads the loader's tables; `start_info` is what it left in EBX.
    pub(crate) fn read(start_info: Hpa) -> Self {
        let info: StartInfo = direct::copy_in(start_info);
        assert!(
            info.magic == MAGIC && info.version >= 1,
            "not entered by PVH version 1 or later"
        );
        let mut boot = BootInfo {
            ram: [const { Hpa(0)..Hpa(0) }; RANGES],
            count: 0,
            bundle: Hpa(0)..Hpa(0),
        };
        for index in 0..u64::from(info.memory_map_entries) {
            let entry: MapEntry =
                direct::copy_in(Hpa(info.memory_map + index * size_of::<MapEntry>() as u64));
            if entry.kind == RAM {
                assert!(
                    boot.count < RANGES,
                    "memory map of more than {RANGES} stretches of RAM"
                );
                boot.ram[boot.count] = Hpa(entry.address)..Hpa(entry.address + entry.size);
                boot.count += 1;
            }
        }
        if info.modules > 0 {
            let module: Module = direct::copy_in(Hpa(info.module_list));
            boot.bundle = Hpa(module.address)..Hpa(module.address + module.size);
        }
        boot
    }

    /// Usable memory.
    pub(crate) fn ram(&self) -> &[Range<Hpa>] {
        &self.ram[..self.count]
    }
}
