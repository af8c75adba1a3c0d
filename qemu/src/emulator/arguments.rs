//! QEMU's command line. Two machines: the one that Atoll runs on, and, for comparison, the one that runs a guest without Atoll.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use atoll_protocol::layout::{MSR_MAP_SIZE, MSR_MAPS};

/// Host memory beside the guest's: kernel, servers, page tables, firmware.
const OVERHEAD_MIB: u64 = 96;
/// From this much on, q35 puts a part of its memory above 4 GiB...
const LOW_MOST_MIB: u64 = 2816;
/// ...and this much below.
const LOW_MIB: u64 = 2048;
/// The CPU that is emulated, with what Atoll needs of it.
pub const CPU: &str = "max,+svm,+npt";
/// As much as the addresses of a machine with modules of memory may reach, in GiB: more than its memory and the last of [`MSR_MAPS`].
const ADDRESSES_GIB: u64 = 264;
/// Port of the device that ends QEMU with a status.
const EXIT_PORT: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// What is the same for both machines.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Host memory, in MiB.
    pub memory_mib: u64,
    /// One instruction is one nanosecond: counts are exact and runs repeat bit by bit.
    pub icount: bool,
    /// What is booted.
    pub boot: Boot,
    /// Where GDB finds QEMU's stub, if it is wanted.
    pub debugger: Option<PathBuf>,
    /// Set where the machine is stopped, written to and started again from outside.
    pub lab: Option<Lab>,
}

/// What a machine under experiment has more.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The file that is the machine's memory.
    pub memory: PathBuf,
    /// Whether the file changes with the memory; else it is what the memory begins with.
    pub shared: bool,
    /// Where QEMU's monitor listens.
    pub monitor: PathBuf,
    /// Where its debugger stub listens.
    pub debugger: PathBuf,
    /// Whether the rest of the machine's state is still to come.
    pub incoming: bool,
}

/// What QEMU boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Atoll, with a bundle.
    Atoll {
        /// Its kernel.
        kernel: PathBuf,
        /// The bundle.
        bundle: PathBuf,
        /// Where its log goes.
        log: PathBuf,
        /// Where its control line listens.
        control: PathBuf,
    },
    /// A guest, directly.
    Direct {
        /// The guest's kernel.
        kernel: PathBuf,
        /// Its initial RAM disk.
        initrd: Option<PathBuf>,
        /// Its command line.
        command_line: String,
    },
}

impl Arguments {
    /// Memory that QEMU needs for a machine of `guest` bytes and a bundle of `bundle` bytes. A guest's memory is in one piece there; where
    /// it does not fit below the hole for devices, all of it goes above 4 GiB.
    #[must_use]
    pub fn memory_for(guest: u64, bundle: u64) -> u64 {
        let all = guest.div_ceil(1 << 20) + bundle.div_ceil(1 << 20) + OVERHEAD_MIB;
        if all < LOW_MOST_MIB {
            all
        } else {
            all + LOW_MIB
        }
    }

    /// The command line. The guest's console is QEMU's standard input and output.
    #[must_use]
    pub fn to_vec(&self) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        line.words("-nodefaults -no-user-config -display none -monitor none -no-reboot -accel tcg");
        line.option("-cpu", CPU);
        match &self.lab {
            Some(lab) => line.lab(lab, self.memory_mib),
            None => line.words("-machine q35,smm=off"),
        }
        if let (Some(path), None) = (&self.debugger, &self.lab) {
            line.option("-gdb", joined_before("unix:", path, ",server=on,wait=off"));
        }
        match &self.boot {
            Boot::Atoll { .. } => line.memory_with_msr_maps(self.memory_mib),
            Boot::Direct { .. } => line.option("-m", format!("{}M", self.memory_mib)),
        }
        line.words("-chardev stdio,id=console,signal=off -serial chardev:console");
        if self.icount {
            line.words("-icount shift=0,sleep=off -rtc base=2020-01-01T00:00:00,clock=vm -seed 1");
        }
        match &self.boot {
            Boot::Atoll {
                kernel,
                bundle,
                log,
                control,
            } => {
                line.option("-kernel", kernel);
                line.option("-initrd", bundle);
                line.option(
                    "-chardev",
                    joined("socket,id=control,server=on,wait=off,path=", control),
                );
                line.words("-serial chardev:control");
                // Appended to, so that it can be cut while it is written.
                line.option("-chardev", joined("file,id=log,append=on,path=", log));
                line.option("-device", "isa-debugcon,iobase=0xe9,chardev=log");
                line.option("-device", EXIT_PORT);
            }
            Boot::Direct {
                kernel,
                initrd,
                command_line,
            } => {
                line.option("-kernel", kernel);
                if let Some(initrd) = initrd {
                    line.option("-initrd", initrd);
                }
                if !command_line.is_empty() {
                    line.option("-append", command_line);
                }
            }
        }
        line.0
    }
}

struct Line(Vec<OsString>);

impl Line {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split_whitespace().map(OsString::from));
    }

    /// A machine that does not run before it is told to, with its memory in a file.
    fn lab(&mut self, lab: &Lab, memory_mib: u64) {
        // What is meant to report a crashed guest stops the machine at the very instruction that writes to it.
        self.words(
            "-machine q35,smm=off,memory-backend=ram -S -device pvpanic -action panic=pause",
        );
        let share = if lab.shared { "on" } else { "off" };
        let memory =
            format!("memory-backend-file,id=ram,size={memory_mib}M,share={share},mem-path=");
        self.option("-object", joined(&memory, &lab.memory));
        self.option(
            "-qmp",
            joined_before("unix:", &lab.monitor, ",server=on,wait=off"),
        );
        self.option(
            "-gdb",
            joined_before("unix:", &lab.debugger, ",server=on,wait=off"),
        );
        if lab.incoming {
            self.words("-incoming defer");
        }
    }

    /// The machine's memory, and the modules in which the kernel keeps the permission map of MSRs. They are small, and elsewhere: addresses
    /// cost nothing.
    fn memory_with_msr_maps(&mut self, memory_mib: u64) {
        self.option(
            "-m",
            format!(
                "{memory_mib}M,slots={},maxmem={ADDRESSES_GIB}G",
                MSR_MAPS.len()
            ),
        );
        for (index, address) in MSR_MAPS.into_iter().enumerate() {
            self.option(
                "-object",
                format!("memory-backend-ram,id=msrs{index},size={MSR_MAP_SIZE}"),
            );
            self.option(
                "-device",
                format!("pc-dimm,id=msrs-at{index},memdev=msrs{index},addr={address:#x}"),
            );
        }
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

/// A path inside an option list, where QEMU wants commas doubled.
fn joined(prefix: &str, path: &Path) -> String {
    format!("{prefix}{}", path.to_string_lossy().replace(',', ",,"))
}

/// The same, with more options behind it.
fn joined_before(prefix: &str, path: &Path, rest: &str) -> String {
    joined(prefix, path) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        assert_eq!(joined("file:", Path::new("/tmp/a,b")), "file:/tmp/a,,b");
    }

    #[test]
    fn memory_leaves_room_for_the_bundle_and_for_atoll() {
        assert_eq!(
            Arguments::memory_for(256 << 20, (10 << 20) + 1),
            256 + 11 + OVERHEAD_MIB
        );
    }
}
