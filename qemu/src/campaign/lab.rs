//! The laboratory: one machine, built with fault injection, that can be stopped at an instant, written to, and started again from there
//! as often as experiments want.
//!
//! The machine's memory is a file. A snapshot is that file, as it was at the instant, and the state of the devices; an experiment maps
//! the file privately, so that it costs no copy, and reads the rest. Both go through QEMU's own migration.

pub mod debugger;
pub mod entry;
pub mod machine;
pub mod monitor;
pub mod program;
pub mod snapshot;
pub mod symbols;

use std::path::{Path, PathBuf};

use atoll_manifest::Machine;
use atoll_protocol::SUPERVISOR_BUDGET_US;
use atoll_protocol::inject::Model;

use crate::bare::target::Permission;
use crate::bare::{Toolchain, build};
use crate::emulator::arguments::{Boot, Lab as Extras};
use crate::emulator::{Arguments, Emulator};
use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::place;
use crate::run::{Instance, Plan};

use super::grammar::{Fault, Names};
use super::record::sha256;
use symbols::Symbols;

pub use machine::{Collected, Running};
pub use snapshot::{Begin, Snapshot};

/// What tells one guest from another.
#[derive(Clone, Debug)]
pub struct Inside {
    /// SHA-256 of its kernel.
    pub kernel: String,
    /// SHA-256 of its initial RAM disk, or nothing.
    pub initrd: String,
    /// Its command line.
    pub command_line: String,
}

/// How much later than a budget's end the watchdog looks, at most, in microseconds.
const WATCHDOG: u64 = 20_000;
/// Ticks in a microsecond.
const TICKS: u64 = 1000;

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
    /// What it runs.
    pub guest: Inside,
    /// How long each server may take for a message, in microseconds, by number.
    budgets: Vec<u32>,
    memory_mib: u64,
    symbols: Symbols,
    /// Keeps the bundle's directory.
    instance: Instance,
}

impl Lab {
    /// Builds kernel and servers, and packs the guest.
    pub fn build(machine: &Machine, guest: &Guest, permission: Permission) -> Result<Self> {
        let instance = Instance::temporary()?;
        let plan = Plan {
            machine,
            guest,
            icount: true,
            direct: false,
            permission,
        };
        let Arguments {
            memory_mib,
            boot: Boot::Atoll { bundle, .. },
            ..
        } = plan.prepare(&instance)?
        else {
            return Err(Error::missing(
                "a machine for experiments is one with Atoll",
            ));
        };
        let kernel =
            build::injecting_kernel(&place::workspace()?, &Toolchain::find(permission)?)?.kernel();
        let symbols = Symbols::of(&kernel)?;
        let emulator = Emulator::find(permission.offline)?;
        let guest = Inside {
            kernel: sha256(&guest.kernel),
            initrd: guest.initrd.as_deref().map(sha256).unwrap_or_default(),
            command_line: guest.command_line.clone(),
        };
        let budgets = machine.servers.iter().map(|server| server.limits.budget_us);
        let budgets = std::iter::once(SUPERVISOR_BUDGET_US)
            .chain(budgets)
            .collect();
        Ok(Self {
            emulator,
            names: Names::of(machine),
            kernel,
            bundle,
            guest,
            budgets,
            memory_mib,
            symbols,
            instance,
        })
    }

    /// How long faults can keep the machine waiting before they are found out, in ticks: what hangs does so for its whole budget.
    pub(super) fn patience(&self, faults: &[Fault]) -> u64 {
        let hangs = faults
            .iter()
            .filter(|fault| matches!(fault.model, Model::Hang | Model::DropAnswer));
        let each = hangs.map(|fault| {
            let number = fault
                .server
                .as_ref()
                .and_then(|server| self.names.number(server));
            let budget = number
                .and_then(|number| self.budgets.get(usize::from(number)))
                .or(self.budgets.iter().max());
            u64::from(fault.limit.max(1))
                .saturating_mul(u64::from(*budget.unwrap_or(&0)) + WATCHDOG)
                .saturating_mul(TICKS)
        });
        each.fold(0, u64::saturating_add)
    }

    /// The arguments of a QEMU that starts from a snapshot; its sockets and log are in `dir`.
    pub(super) fn experiment(
        &self,
        dir: &Path,
        memory: &Path,
        shared: bool,
        incoming: bool,
    ) -> Arguments {
        let boot = Boot::Atoll {
            kernel: self.kernel.clone(),
            bundle: self.bundle.clone(),
            log: dir.join("kernel.log"),
            control: dir.join("control.sock"),
        };
        let (monitor, debugger) = (dir.join("monitor.sock"), dir.join("debugger.sock"));
        let lab = Some(Extras {
            memory: memory.to_owned(),
            shared,
            monitor,
            debugger,
            incoming,
        });
        Arguments {
            memory_mib: self.memory_mib,
            icount: true,
            boot,
            debugger: None,
            lab,
        }
    }

    /// The same as text, with files' names only.
    pub(super) fn arguments(&self) -> String {
        let arguments = self
            .experiment(Path::new("/"), Path::new("/memory"), false, true)
            .to_vec();
        let words = arguments.iter().map(|word| {
            let word = word.to_string_lossy();
            match word.rsplit_once('/').filter(|_| word.starts_with('/')) {
                Some((_, name)) => name.to_owned(),
                None => word.into_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The directory that goes with the laboratory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.instance.dir()
    }
}
