//! Faults in an ordinary boot: the plan is in the kernel's page before the first instruction.

use std::path::PathBuf;

use atoll_manifest::Machine;
use atoll_protocol::inject::Plan;
use zerocopy::IntoBytes;

use super::debugger::Debugger;
use super::monitor::Monitor;
use super::symbols::Symbols;
use crate::bare::target::Permission;
use crate::bare::{Toolchain, build};
use crate::campaign::grammar::{Fault, Names};
use crate::emulator::Arguments;
use crate::emulator::arguments::{Boot, Lab as Extras};
use crate::error::{Error, Result};
use crate::place;
use crate::run::Instance;

/// A plan on its way into a machine that is about to be started.
#[derive(Debug)]
pub struct Entry {
    plan: Plan,
    symbols: Symbols,
    monitor: PathBuf,
    debugger: PathBuf,
}

impl Entry {
    /// Has the machine wait for its plan.
    pub fn prepare(
        faults: &[Fault],
        machine: &Machine,
        instance: &Instance,
        arguments: &mut Arguments,
        permission: Permission,
    ) -> Result<Self> {
        let plan = Fault::plan(faults, &Names::of(machine)).map_err(|what| Error::Usage {
            what: format!("--inject: {what}"),
        })?;
        let built = build::injecting_kernel(&place::workspace()?, &Toolchain::find(permission)?)?;
        let symbols = Symbols::of(&built.kernel())?;
        if let Boot::Atoll { kernel, .. } = &mut arguments.boot {
            *kernel = built.kernel();
        }
        let (monitor, debugger) = (
            instance.dir().join("monitor.sock"),
            instance.dir().join("debugger.sock"),
        );
        let memory = instance.dir().join("memory");
        arguments.lab = Some(Extras {
            memory,
            shared: true,
            monitor: monitor.clone(),
            debugger: debugger.clone(),
            incoming: false,
        });
        Ok(Self {
            plan: Plan {
                sequence: 1,
                ..plan
            },
            symbols,
            monitor,
            debugger,
        })
    }

    /// Leaves the plan in the machine, which waits for it, and lets the machine go.
    pub fn enter(&self) -> Result<()> {
        let mut monitor = Monitor::open(&self.monitor)?;
        Debugger::open(&self.debugger)?.write(self.symbols.plan, self.plan.as_bytes())?;
        monitor.resume()
    }
}
