//! QEMU must not outlive the tool, however that ends. The kernel can see to it (`PR_SET_PDEATHSIG`), but the setting is lost in `fork`
//! and kept in `exec`, so the child has to make it itself: the tool starts itself as a hidden sub-command that makes it and becomes QEMU.
//! The same goes for its [limits](super::confine).

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use super::confine;
use crate::error::{Error, Result};

/// Name of the hidden sub-command.
pub const SUBCOMMAND: &str = "leashed";

/// The command that runs `command`, a machine with so much memory, on a leash held by this process. Where the tool's own program is not found (a test whose binary was
/// not built with it) QEMU runs without.
#[must_use]
pub fn leashed(command: Command, memory_mib: u64) -> Command {
    let Some(tool) = own_program() else {
        return command;
    };
    let mut outer = Command::new(tool);
    outer
        .arg(SUBCOMMAND)
        .arg(Pid::this().to_string())
        .arg(memory_mib.to_string())
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    outer
}

fn own_program() -> Option<PathBuf> {
    let current = env::current_exe().ok()?;
    if current.file_stem().is_some_and(|name| name == "atoll") {
        return Some(current);
    }
    // A test runs from `deps/`, beside the binary.
    current
        .parent()?
        .parent()
        .map(|dir| dir.join("atoll"))
        .filter(|file| file.is_file())
}

/// Becomes `program`, to be killed when process `parent` ends.
pub fn become_leashed(
    parent: i32,
    memory_mib: u64,
    program: &OsString,
    arguments: &[OsString],
) -> Result<()> {
    confine::limit(memory_mib)?;
    set_pdeathsig(Signal::SIGKILL).map_err(|error| Error::program("prctl", error))?;
    if getppid() != Pid::from_raw(parent) {
        return Err(Error::missing(
            "the process that started this one has ended",
        ));
    }
    Err(Error::program(
        program.to_string_lossy(),
        Command::new(program).args(arguments).exec(),
    ))
}
