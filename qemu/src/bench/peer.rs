//! The same guest on KVM: Debian's kernel in the same QEMU, with `qemu/kvm-peer` as its first program.

use super::linux::{self, KvmKernel};
use super::probes::{self, Figure};
use super::run;
use crate::bare::Toolchain;
use crate::bare::target::Permission;
use crate::emulator::Arguments;
use crate::emulator::arguments::Boot;
use crate::error::{Error, Result};
use crate::guest::archive::Archive;
use crate::guest::intree;
use crate::run::Instance;

/// Memory for Linux and for the guest inside it, in MiB.
const MEMORY_MIB: u64 = 512;
/// The kernel's own random choices are switched off, and it says nothing that does not matter.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 nokaslr quiet";

/// What the peer prints before the release of the Linux that it runs on.
const KERNEL: &str = "kernel ";

/// Measures on KVM; gives the kernel's release as well.
///
/// `mail` is something else there: half of what a line takes more than a character, since a line is passed to a process and its word
/// waited for, which makes two hops.
pub fn on_kvm(permission: Permission) -> Result<(String, Vec<Figure>)> {
    let kernel = KvmKernel::find(permission.offline)?;
    let (_, guest) = intree::build(probes::GUEST, &Toolchain::find(permission)?)?;
    let mut root = Archive::default();
    root.directory("dev")?;
    root.device("dev/console", 5, 1)?;
    root.file(
        "init",
        0o755,
        &linux::program("kvm-peer", permission.offline)?,
    )?;
    root.file("guest", 0o644, &guest)?;
    root.directory("modules")?;
    for (number, path) in kernel.modules.iter().enumerate() {
        let module = std::fs::read(path).map_err(Error::file(path))?;
        root.file(&format!("modules/{number}.ko"), 0o644, &module)?;
    }
    let instance = Instance::temporary()?;
    let initrd = instance.write("initrd", &root.finish()?)?;
    let boot = Boot::Direct {
        kernel: kernel.image,
        initrd: Some(initrd),
        command_line: COMMAND_LINE.to_owned(),
    };
    let arguments = Arguments {
        memory_mib: MEMORY_MIB,
        icount: true,
        boot,
        debugger: None,
        lab: None,
    };
    let booted = run::to_the_end(&arguments, &instance, permission, "Measuring exits on KVM")?;
    let mut figures = probes::read(&booted.console)?;
    if let Some(line) = figures.iter().find(|figure| figure.name == "line").cloned() {
        let hop = Figure {
            name: "mail".into(),
            min: line.min / 2,
            median: line.median / 2,
            max: line.max / 2,
        };
        figures.retain(|figure| figure.name != hop.name);
        figures.push(hop);
    }
    let kernel = booted
        .console
        .lines()
        .find_map(|line| line.trim().strip_prefix(KERNEL))
        .unwrap_or("of an unknown release");
    Ok((kernel.to_owned(), figures))
}
