//! The laboratory: one machine, built with fault injection, that can be stopped at an instant, written to, and started again from there
//! as often as experiments want.
//!
//! The machine's memory is a file. A snapshot is that file, as it was at the instant, and the state of the devices; an experiment maps
//! the file privately, so that it costs no copy, and reads the rest. Both go through QEMU's own migration.

pub mod debugger;
pub mod entry;
pub mod machine;
pub mod monitor;
pub mod snapshot;
pub mod symbols;

use std::path::PathBuf;

use crate::bare::target::Permission;
use crate::bare::{Toolchain, build};
use crate::emulator::arguments::Boot;
use crate::emulator::{Arguments, Emulator};
use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::machine::Machine;
use crate::place;
use crate::run::{Instance, Plan};

use super::grammar::Names;
use symbols::Symbols;

pub use machine::{Collected, Running};
pub use snapshot::{Begin, Snapshot};

/// A laboratory.
#[derive(Debug)]
pub struct Lab {
    /// QEMU.
    pub emulator: Emulator,
    /// The machine's servers.
    pub names: Names,
    /// The injecting kernel.
    pub kernel: PathBuf,
    /// The bundle.
    pub bundle: PathBuf,
    memory_mib: u64,
    symbols: Symbols,
    /// Keeps the bundle's directory.
    instance: Instance,
}

impl Lab {
    /// Builds kernel and servers, and packs the guest.
    pub fn build(machine: &Machine, guest: &Guest, permission: Permission) -> Result<Self> {
        let instance = Instance::temporary()?;
        let plan = Plan { machine, guest, icount: true, direct: false, permission };
        let Arguments { memory_mib, boot: Boot::Atoll { bundle, .. }, .. } = plan.prepare(&instance)? else {
            return Err(Error::missing("a machine for experiments is one with Atoll"));
        };
        let kernel = build::injecting_kernel(&place::workspace()?, &Toolchain::find(permission)?)?.kernel();
        let symbols = Symbols::of(&kernel)?;
        let emulator = Emulator::find(permission.offline)?;
        Ok(Self { emulator, names: Names::of(machine), kernel, bundle, memory_mib, symbols, instance })
    }

    /// The directory that goes with the laboratory.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.instance.dir()
    }
}
