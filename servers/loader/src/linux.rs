//! Linux's own boot protocol (Documentation/arch/x86/boot.rst): bzImage, entered in long mode or in protected mode.

use crate::files::Files;
use crate::memory::{BOOT_INFO, CMDLINE_MAX, HIGH, Ram};
use crate::placer::{Placer, part};
use crate::refusal::Refusal;
use crate::{Loaded, cpu};

mod boot_params;
mod header;
#[cfg(test)]
mod tests;

pub(crate) use header::Header;

/// Where the 64-bit entry is, from the start of the protected-mode kernel.
const LONG_ENTRY: u64 = 0x200;

/// Places a bzImage with its parameters.
pub(crate) fn place(
    header: &Header,
    files: &Files<'_>,
    ram: Ram,
    protected_entry: bool,
    placer: &mut Placer<'_, '_>,
) -> Result<Loaded, Refusal> {
    let size = (files.kernel.bytes.len() as u64).saturating_sub(header.setup_size);
    let code = part(&files.kernel, header.setup_size, size).filter(|code| !code.bytes.is_empty());
    let code = code.ok_or(Refusal::Damaged("protected-mode part"))?;
    // What the kernel needs until it has looked at the memory map: itself unpacked, its bss, and the decompressor's room.
    let needed = size.max(header.init_size);
    let load = load_address(header, needed, ram)?;

    let most = header.cmdline_size.min(CMDLINE_MAX - 1);
    let length = files.cmdline.bytes.len() as u64;
    if length > most {
        return Err(Refusal::CommandLine { length, most });
    }

    let ceiling = header.initrd_max.saturating_add(1);
    let initrd = files.place_initrd(ram, load + needed, ceiling)?;

    placer.copy(load, &code);
    files.copy_cmdline(placer);
    files.copy_initrd(initrd, placer);
    placer.write(
        BOOT_INFO,
        &boot_params::page(header, &files.kernel, load, initrd, ram),
    );

    let long = header.has_long_entry && !protected_entry;
    let entry = if long { load + LONG_ENTRY } else { load };
    let mut state = if long {
        cpu::long(entry, placer)
    } else {
        cpu::protected(entry, placer)
    };
    cpu::set(&mut state, cpu::RSI, BOOT_INFO);
    placer.initial(&state);
    let format = if long {
        "bzImage in long mode"
    } else {
        "bzImage in protected mode"
    };
    Ok(Loaded {
        format,
        entry,
        kernel: size,
        initrd: initrd.size,
    })
}

/// Memory from address 0 on that a file of so many bytes needs at least.
pub(crate) fn memory_needed(header: &Header, file: u64) -> u64 {
    let size = file.saturating_sub(header.setup_size);
    let lowest = if header.relocatable {
        HIGH.next_multiple_of(header.alignment)
    } else {
        header.preferred
    };
    lowest.saturating_add(size.max(header.init_size))
}

/// The preferred address if RAM reaches so far; else, for a relocatable kernel, the lowest that is aligned.
fn load_address(header: &Header, needed: u64, ram: Ram) -> Result<u64, Refusal> {
    let lowest = HIGH.next_multiple_of(header.alignment);
    let candidates = [Some(header.preferred), header.relocatable.then_some(lowest)];
    let fits = candidates
        .into_iter()
        .flatten()
        .find(|at| ram.holds(*at, needed));
    fits.ok_or(Refusal::NoRoom {
        what: "the kernel",
        size: needed,
        at: header.preferred,
    })
}
