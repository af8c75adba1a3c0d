//! One boot for figures: time is counted in instructions, and what the guest printed is kept.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use atoll_manifest::Machine;

use crate::bare::target::Permission;
use crate::console::Keyboard;
use crate::emulator::{Arguments, Emulator};
use crate::error::{Error, Result};
use crate::guest::Guest;
use crate::progress::Step;
use crate::run::{End, Instance, Plan, Session};

/// No boot takes longer on a machine that is only slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a guest left behind.
#[derive(Clone, Debug)]
pub struct Booted {
    /// What it printed.
    pub console: String,
    /// Atoll's log.
    pub log: String,
}

/// Boots a guest on Atoll.
pub fn on_atoll(
    machine: &Machine,
    guest: &Guest,
    permission: Permission,
    what: &str,
) -> Result<Booted> {
    boot(
        &Plan {
            machine,
            guest,
            icount: true,
            direct: false,
            permission,
        },
        what,
    )
}

/// Boots a guest in QEMU, without Atoll.
pub fn directly(
    machine: &Machine,
    guest: &Guest,
    permission: Permission,
    what: &str,
) -> Result<Booted> {
    boot(
        &Plan {
            machine,
            guest,
            icount: true,
            direct: true,
            permission,
        },
        what,
    )
}

fn boot(plan: &Plan<'_>, what: &str) -> Result<Booted> {
    let instance = Instance::temporary()?;
    let arguments = plan.prepare(&instance)?;
    to_the_end(&arguments, &instance, plan.permission, what)
}

/// Runs QEMU until the guest powers off.
pub fn to_the_end(
    arguments: &Arguments,
    instance: &Instance,
    permission: Permission,
    what: &str,
) -> Result<Booted> {
    let emulator = Emulator::find(permission.offline)?;
    let session = Session {
        emulator: &emulator,
        arguments,
        instance,
        keyboard: &Keyboard::default(),
        marks: None,
        script: &[],
        stats: false,
        deadline: Some(Instant::now() + PATIENCE),
        faults: None,
    };
    let mut console = Vec::new();
    let ended = Step::of(what, |_| session.run(&mpsc::channel(), &mut console))?;
    if ended.end != End::PowerOff || ended.panicked {
        let report = ended
            .end
            .report(ended.panicked, &ended.log)
            .unwrap_or_else(|| format!("it ended by {:?}", ended.end));
        return Err(Error::program(
            "the measured guest",
            format_args!("{report}\n{}", ended.last_lines),
        ));
    }
    Ok(Booted {
        console: String::from_utf8_lossy(&console).into_owned(),
        log: ended.log,
    })
}
