//! Files that are none: what a user may read of the kernel is read, and what leads past it is refused.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use super::{Ground, expect};
use crate::puppet::{DATA, Puppet, Wrong};

/// Ways to memory, ports and registers.
const REFUSED: [&str; 7] = [
    "/dev/mem",
    "/dev/port",
    "/dev/kmem",
    "/proc/kcore",
    "/dev/cpu/0/msr",
    "/dev/kmsg",
    "/dev/ttyS0",
];
const READ: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/meminfo",
    "/proc/kallsyms",
    "/proc/modules",
    "/proc/self/maps",
    "/proc/self/auxv",
    "/proc/self/stat",
    "/proc/timer_list",
    "/proc/vmallocinfo",
];
/// Of how many files of /sys, and how much of each.
const FILES: usize = 120;
const BYTES: u64 = 4096;
/// System calls that a user may not make, with arguments: iopl, ioperm, mount, reboot, init_module, kexec_load, settimeofday, perf_event_open
/// of a breakpoint in the kernel.
const CALLS: [(u64, [u64; 6]); 7] = [
    (172, [3, 0, 0, 0, 0, 0]),
    (173, [0x3f8, 8, 1, 0, 0, 0]),
    (165, [0, 0, 0, 0, 0, 0]),
    (169, [0xfee1_dead, 0x2812_1969, 0x0123_4567, 0, 0, 0]),
    (175, [DATA, 0, DATA, 0, 0, 0]),
    (246, [0, 0, 0, 0, 0, 0]),
    (164, [DATA, 0, 0, 0, 0, 0]),
];
const PERF_EVENT_OPEN: u64 = 298;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    for path in REFUSED {
        expect(path, fs::File::open(path).is_ok(), false)?;
    }
    let puppet = Puppet::new()?;
    for (number, arguments) in CALLS {
        expect(
            &format!("whether system call {number} is refused"),
            puppet.call(number, arguments)? < 0,
            true,
        )?;
    }
    perf(ground, &puppet)?;
    let mut paths: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    gather(Path::new("/sys"), &mut found);
    found.sort();
    for _ in 0..FILES.min(found.len()) {
        paths.push(found[ground.dice.below(found.len() as u64) as usize].clone());
    }
    for path in paths {
        let mut bytes = Vec::new();
        if let Ok(file) = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(path)
        {
            // Some files refuse to be read.
            let _ = file.take(BYTES).read_to_end(&mut bytes);
        }
    }
    Ok(())
}

/// Breakpoints by way of `perf_event_open`, where Linux allows that at all: any address, any kind; none in the kernel.
fn perf(ground: &mut Ground<'_>, puppet: &Puppet) -> Result<(), Wrong> {
    for _ in 0..16 {
        let address: u64 = ground.dice.pick(&[
            0x40_0000,
            0x40_0001,
            0x7000_0000,
            0x10_0000,
            0xffff_ffff_8100_0000,
        ]);
        let (kind, length) = ground.dice.pick(&[(4_u32, 8_u64), (1, 1), (2, 4), (3, 8)]);
        // type, size; config, .. ; flags; bp_type behind wakeup; bp_addr; bp_len.
        let mut event = [0_u8; 112];
        event[0..4].copy_from_slice(&5_u32.to_le_bytes());
        event[4..8].copy_from_slice(&112_u32.to_le_bytes());
        // Not the kernel's part, nor a hypervisor's.
        event[40] = 0x60;
        event[52..56].copy_from_slice(&kind.to_le_bytes());
        event[56..64].copy_from_slice(&address.to_le_bytes());
        event[64..72].copy_from_slice(&length.to_le_bytes());
        puppet.write(DATA, &event)?;
        let result = puppet.call(PERF_EVENT_OPEN, [DATA, 0, u64::MAX, u64::MAX, 0, 0])?;
        if result >= 0 && address >> 47 != 0 {
            return Err(format!("a user may watch {address:#x}"));
        }
        super::exits(puppet, 1, 8)?;
        if result >= 0 {
            expect("close", puppet.call(3, [result as u64, 0, 0, 0, 0, 0])?, 0)?;
        }
    }
    Ok(())
}

/// The files below a directory; links are not followed.
fn gather(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => gather(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}
