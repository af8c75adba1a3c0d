//! What QEMU may do if a guest takes it over: TCG is no security boundary by its project's own word, so that the process is confined.
//!
//! Its own sandbox (seccomp) refuses system calls that no machine of ours needs, where it was built with it. Limits keep it from filling the
//! disk or the memory, and it leaves no core, which would hold the guest's memory.

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};

use crate::error::{Error, Result};

/// QEMU's sandbox: no obsolete system calls, no other user, no other program, no other priority.
pub const SANDBOX: [&str; 2] = [
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
];
/// The same for a machine under experiment, whose snapshots QEMU 7.2 hands to a program, and takes from one.
pub const LAB_SANDBOX: [&str; 2] = [
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny",
];
/// Beside the machine's memory: the largest file that QEMU may write, its log and what a snapshot has beside the memory.
const FILE_MIB: u64 = 4 << 10;
/// Beside twice the machine's memory: QEMU's program, its translated code (1 GiB) and its threads' arenas.
const SPACE_MIB: u64 = 8 << 10;

/// Whether a QEMU can run in its sandbox here: it was built with it, and this kernel has what it takes. It is started without a machine to
/// find out.
pub fn has_sandbox(mut emulator: Command) -> bool {
    let started = emulator
        .args(SANDBOX)
        .args([
            "-machine",
            "none",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-S",
            "-monitor",
            "stdio",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else { return false };
    // One that has ended already does not read it.
    let _ = child
        .stdin
        .take()
        .map(|mut monitor| monitor.write_all(b"quit\n"));
    child.wait().is_ok_and(|status| status.success())
}

/// Limits this process, which is about to become the QEMU of a machine with so much memory.
pub fn limit(memory_mib: u64) -> Result<()> {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (
            Resource::RLIMIT_FSIZE,
            bytes(memory_mib.saturating_add(FILE_MIB)),
        ),
        (
            Resource::RLIMIT_AS,
            bytes(memory_mib.saturating_mul(2).saturating_add(SPACE_MIB)),
        ),
    ];
    for (resource, most) in limits {
        let (_, hard) = nix::sys::resource::getrlimit(resource)
            .map_err(|error| Error::program("getrlimit", error))?;
        let most = most.min(hard);
        setrlimit(resource, most, most).map_err(|error| Error::program("setrlimit", error))?;
    }
    Ok(())
}
