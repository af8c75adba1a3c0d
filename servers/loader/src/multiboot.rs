//! Multiboot 1 (specification 0.6.96): a header in the first 8 KiB, entered in protected mode with an information structure in EBX.
//!
//! The command line begins with the kernel's name, and a blank. The specification does not say so, but GRUB, syslinux, kexec and QEMU do it, and
//! kernels leave the first word out.

use zerocopy::{Immutable, IntoBytes};

use crate::files::{self, Files};
use crate::memory::{BOOT_INFO, Ram, place_of_cmdline};
use crate::placer::{Placer, part};
use crate::program::Program;
use crate::refusal::Refusal;
use crate::{Loaded, cpu};

mod header;
#[cfg(test)]
mod tests;

pub(crate) use header::{Addresses, Header};

/// What EAX holds at the entry (§3.2).
const LOADER_MAGIC: u64 = 0x2bad_b002;

const LOADER_NAME: u64 = BOOT_INFO + 0x80;
const MODULES: u64 = BOOT_INFO + 0x90;
const MEMORY_MAP: u64 = BOOT_INFO + 0x120;
/// The kernel's name where the bundle has none.
const NAMELESS: &[u8] = b"kernel";

/// Parts of the information that are there: memory sizes, command line, modules, memory map, loader's name (§3.3).
const HAS_MEMORY: u32 = 1;
const HAS_CMDLINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// The information, as far as the loader's name.
#[repr(C)]
#[derive(Default, IntoBytes, Immutable)]
struct Information {
    flags: u32,
    memory_lower: u32,
    memory_upper: u32,
    boot_device: u32,
    cmdline: u32,
    modules: u32,
    module_list: u32,
    symbols: [u32; 4],
    memory_map_length: u32,
    memory_map: u32,
    drives_length: u32,
    drives: u32,
    configuration: u32,
    loader_name: u32,
}

/// One module.
#[repr(C)]
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
struct Module {
    start: u32,
    end: u32,
    text: u32,
    reserved: u32,
}

/// One stretch of the memory map; `size` counts what follows it.
#[repr(C, packed)]
#[derive(Default, IntoBytes, Immutable)]
struct MemoryMapEntry {
    size: u32,
    base: u64,
    length: u64,
    kind: u32,
}

/// Places the kernel and its parameters.
pub(crate) fn place(
    header: &Header,
    files: &Files<'_>,
    ram: Ram,
    placer: &mut Placer<'_, '_>,
) -> Result<Loaded, Refusal> {
    let (entry, end, kernel, (cmdline, room)) = match &header.addresses {
        Some(addresses) => {
            let (entry, end, size) = place_plain(addresses, files, ram, placer)?;
            let place = (addresses.load, end - addresses.load);
            (entry, end, size, place_of_cmdline([place]))
        }
        None => {
            let program = Program::read(&files.kernel).ok_or(Refusal::Damaged("ELF header"))?;
            let extent = program.extent(ram)?;
            program.place(placer);
            let places = place_of_cmdline(program.places());
            (program.elf.ehdr.e_entry, extent.end, extent.size, places)
        }
    };
    if entry > u64::from(u32::MAX) {
        return Err(Refusal::Damaged("entry point"));
    }
    let name = files.name.map_or(NAMELESS, |name| name.bytes);
    files.check_cmdline(room.saturating_sub(name.len() as u64 + 1))?;
    placer.write(cmdline, name);
    placer.write(cmdline + name.len() as u64, b" ");
    files.copy_cmdline_to(cmdline + name.len() as u64 + 1, placer);
    let modules = place_modules(files, ram, end, placer)?;
    parameters(cmdline, modules, ram, placer);
    let mut state = cpu::protected(entry, placer);
    cpu::set(&mut state, cpu::RAX, LOADER_MAGIC);
    cpu::set(&mut state, cpu::RBX, BOOT_INFO);
    placer.initial(&state);
    Ok(Loaded {
        format: "multiboot",
        entry,
        kernel,
        initrd: files.initrd.map_or(0, |file| file.bytes.len() as u64),
    })
}

/// Places the initial RAM disk and all other modules, one after the other right above the kernel: a small kernel may map only the first few
/// mebibytes. Their number.
fn place_modules(
    files: &Files<'_>,
    ram: Ram,
    end: u64,
    placer: &mut Placer<'_, '_>,
) -> Result<u32, Refusal> {
    let initrd = files.place_initrd_low(ram, end)?;
    files.copy_initrd(initrd, placer);
    let mut list = [Module::default(); files::MODULES + 1];
    let mut count = 0;
    let mut floor = end;
    let mut add = |start: u64, size: u64, text: u64| {
        if let Some(place) = list.get_mut(count) {
            *place = Module {
                start: start as u32,
                end: (start + size) as u32,
                text: text as u32,
                reserved: 0,
            };
            count += 1;
        }
    };
    if initrd.size != 0 {
        add(initrd.at, initrd.size, 0);
        floor = initrd.at + initrd.size;
    }
    for (file, text) in files.modules.iter().flatten() {
        let (at, size) = ram.next(floor, file.bytes.len() as u64)?;
        placer.copy(at, file);
        floor = at + size;
        // The text follows its module.
        let words = text.map_or(&[][..], |text| text.bytes);
        placer.write(floor, words);
        placer.zero(floor + words.len() as u64, 1);
        add(at, size, floor);
        floor += words.len() as u64 + 1;
    }
    placer.write(MODULES, list.as_bytes());
    Ok(count as u32)
}

/// A kernel of any format whose header says where it goes (§3.1.3). Gives entry, end and bytes of the file.
fn place_plain(
    addresses: &Addresses,
    files: &Files<'_>,
    ram: Ram,
    placer: &mut Placer<'_, '_>,
) -> Result<(u64, u64, u64), Refusal> {
    let damaged = Refusal::Damaged("multiboot header");
    let in_file = files.kernel.bytes.len() as u64;
    let length = match addresses.load_end {
        0 => in_file.checked_sub(addresses.file_offset),
        end => end.checked_sub(addresses.load),
    };
    let code = length
        .and_then(|length| part(&files.kernel, addresses.file_offset, length))
        .ok_or(damaged)?;
    let length = code.bytes.len() as u64;
    let end = (addresses.load + length).max(addresses.bss_end);
    let size = end - addresses.load;
    if !ram.holds(addresses.load, size) {
        return Err(Refusal::NoRoom {
            what: "the kernel",
            size,
            at: addresses.load,
        });
    }
    placer.copy(addresses.load, &code);
    placer.zero(addresses.load + length, size - length);
    Ok((addresses.entry, end, length))
}

fn parameters(cmdline: u64, modules: u32, ram: Ram, placer: &mut Placer<'_, '_>) {
    let (memory_lower, memory_upper) = ram.kib();
    let mut info = Information {
        flags: HAS_MEMORY | HAS_CMDLINE | HAS_MEMORY_MAP | HAS_LOADER_NAME,
        memory_lower,
        memory_upper,
        cmdline: cmdline as u32,
        memory_map: MEMORY_MAP as u32,
        loader_name: LOADER_NAME as u32,
        ..Information::default()
    };
    placer.write(LOADER_NAME, b"Atoll\0");
    for (region, at) in ram
        .map()
        .zip((MEMORY_MAP..).step_by(size_of::<MemoryMapEntry>()))
    {
        let entry = MemoryMapEntry {
            size: 20,
            base: region.base,
            length: region.size,
            kind: region.kind as u32,
        };
        placer.write(at, entry.as_bytes());
        info.memory_map_length += size_of::<MemoryMapEntry>() as u32;
    }
    if modules != 0 {
        info.flags |= HAS_MODULES;
        info.modules = modules;
        info.module_list = MODULES as u32;
    }
    placer.write(BOOT_INFO, info.as_bytes());
}
