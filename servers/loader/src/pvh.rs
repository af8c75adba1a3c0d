//! Xen's PVH entry (docs/misc/pvh.pandoc): an ELF kernel with a note that names its 32-bit entry point, started with a
//! `hvm_start_info` in EBX.

use elf::abi::PT_NOTE;
use elf::note::Note;
use zerocopy::{Immutable, IntoBytes};

use crate::files::{Files, Initrd};
use crate::memory::{ACPI, BOOT_INFO, Ram, place_of_cmdline};
use crate::placer::Placer;
use crate::program::Program;
use crate::refusal::Refusal;
use crate::{Loaded, cpu};

/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYS32_ENTRY: u64 = 18;
const MAGIC: u32 = 0x336e_c578;
/// The version that has a memory map.
const VERSION: u32 = 1;

const MODULES: u64 = BOOT_INFO + 0x40;
const MEMORY_MAP: u64 = BOOT_INFO + 0x80;

/// `hvm_start_info`.
#[repr(C)]
#[derive(Default, IntoBytes, Immutable)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    cmdline: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `hvm_modlist_entry`.
#[repr(C)]
#[derive(Default, IntoBytes, Immutable)]
struct Module {
    at: u64,
    size: u64,
    cmdline: u64,
    reserved: u64,
}

/// `hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Default, IntoBytes, Immutable)]
struct MemoryMapEntry {
    base: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// The entry point that the note names; `None` if there is no such note.
pub(crate) fn entry(program: &Program<'_>) -> Option<u64> {
    let notes = program
        .elf
        .segments()?
        .iter()
        .filter(|segment| segment.p_type == PT_NOTE);
    let mut notes = notes
        .filter_map(|segment| program.elf.segment_data_as_notes(&segment).ok())
        .flatten();
    notes.find_map(|note| match note {
        Note::Unknown(note)
            if note.n_type == PHYS32_ENTRY
                && note.name.strip_suffix(b"\0").unwrap_or(note.name) == b"Xen" =>
        {
            let entry = note
                .desc
                .first_chunk()
                .map(|bytes| u32::from_le_bytes(*bytes));
            entry.map(u64::from)
        }
        _ => None,
    })
}

/// Places the kernel and its parameters.
pub(crate) fn place(
    program: &Program<'_>,
    entry: u64,
    files: &Files<'_>,
    ram: Ram,
    placer: &mut Placer<'_, '_>,
) -> Result<Loaded, Refusal> {
    let extent = program.extent(ram)?;
    let (cmdline, room) = place_of_cmdline(program.places());
    files.check_cmdline(room)?;
    let initrd = files.place_initrd(ram, extent.end, u64::MAX)?;
    program.place(placer);
    files.copy_cmdline_to(cmdline, placer);
    files.copy_initrd(initrd, placer);
    parameters(cmdline, initrd, ram, placer);
    let mut state = cpu::protected(entry, placer);
    cpu::set(&mut state, cpu::RBX, BOOT_INFO);
    placer.initial(&state);
    Ok(Loaded {
        format: "ELF with a PVH entry",
        entry,
        kernel: extent.size,
        initrd: initrd.size,
    })
}

fn parameters(cmdline: u64, initrd: Initrd, ram: Ram, placer: &mut Placer<'_, '_>) {
    let mut info = StartInfo {
        magic: MAGIC,
        version: VERSION,
        cmdline,
        rsdp: ACPI,
        memory_map: MEMORY_MAP,
        ..StartInfo::default()
    };
    for (region, at) in ram
        .map()
        .zip((MEMORY_MAP..).step_by(size_of::<MemoryMapEntry>()))
    {
        let entry = MemoryMapEntry {
            base: region.base,
            size: region.size,
            kind: region.kind as u32,
            reserved: 0,
        };
        placer.write(at, entry.as_bytes());
        info.memory_map_entries += 1;
    }
    if initrd.size != 0 {
        placer.write(
            MODULES,
            Module {
                at: initrd.at,
                size: initrd.size,
                ..Module::default()
            }
            .as_bytes(),
        );
        info.modules = 1;
        info.module_list = MODULES;
    }
    placer.write(BOOT_INFO, info.as_bytes());
}
