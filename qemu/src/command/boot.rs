//! `atoll boot`: from what was asked for to a running guest, and to the status that says how it ended.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use atoll_manifest::{MEMORY_LEAST, MEMORY_UNIT, Machine, ranges};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::campaign::lab::entry::Entry;
use crate::cli::{BootArgs, Common};
use crate::console::{Event, Keyboard, terminal};
use crate::emulator::Emulator;
use crate::error::{Error, Result};
use crate::guest::Choice;
use crate::guest::init::Marks;
use crate::guest::initramfs::Job;
use crate::run::outcome::status;
use crate::run::{End, Ended, Instance, Plan, Session};
use crate::shown::Lines;

/// How long a machine may take to end after a signal before it is ended.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Boots; and boots again when the guest reboots.
pub(super) fn run(args: &BootArgs, common: &Common) -> Result<ExitCode> {
    let machine = machine(args)?;
    let guest = choice(args, common).find()?;
    let instance = Instance::claim(&args.name)?;
    let plan = Plan {
        machine: &machine,
        guest: &guest,
        icount: args.icount,
        direct: args.direct,
        permission: common.permission(),
    };
    let mut arguments = plan.prepare(&instance)?;
    let faults = match &args.inject[..] {
        [] => None,
        faults => Some(Entry::prepare(
            faults,
            &machine,
            &instance,
            &mut arguments,
            common.permission(),
        )?),
    };
    let emulator = Emulator::find(common.offline)?;

    let events = mpsc::channel();
    watch_signals(events.0.clone())?;
    let keyboard = Keyboard::default();
    let interactive = args.exec.is_none();
    let raw = if interactive {
        terminal::Raw::enter()?
    } else {
        None
    };
    if interactive {
        keyboard.attach(events.0.clone());
    }
    let deadline = args
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let session = Session {
        emulator: &emulator,
        arguments: &arguments,
        instance: &instance,
        keyboard: &keyboard,
        marks: guest.marks.as_ref(),
        script: &[],
        stats: args.stats,
        deadline,
        faults: faults.as_ref(),
    };
    let ended = loop {
        let ended = session.run(&events, &mut stdout().lock())?;
        if ended.end != End::Reset || ended.panicked || !interactive {
            break ended;
        }
    };
    if raw.is_some() && ended.end != End::PowerOff {
        // The cursor stands where the guest left it.
        eprintln!();
    }
    drop(raw);
    Ok(report(&ended, interactive))
}

fn machine(args: &BootArgs) -> Result<Machine> {
    let mut machine = match &args.machine {
        Some(path) => Machine::load(path)?,
        None => Machine::linux()?,
    };
    for (server, dir) in &args.swap {
        machine
            .replace(server, dir)
            .map_err(Error::option("--swap"))?;
    }
    if let Some(text) = &args.memory {
        machine.memory = ranges::bytes(text)
            .filter(|memory| memory.is_multiple_of(MEMORY_UNIT))
            .filter(|memory| *memory >= MEMORY_LEAST)
            .ok_or_else(|| Error::Usage {
                what: format!(
                    "--memory {text}: wanted is a multiple of 2M, at least 32M (like 256M)"
                ),
            })?;
    }
    Ok(machine)
}

fn choice(args: &BootArgs, common: &Common) -> Choice {
    let exec = args
        .exec
        .clone()
        .map(|command| (command, Marks::new(nonce(args.icount))));
    let terminal = if exec.is_none() && !args.icount {
        terminal::description()
    } else {
        None
    };
    Choice {
        name: args.guest.clone(),
        kernel: args.kernel.clone(),
        initrd: args.initrd.clone(),
        append: args.append.clone(),
        job: Job {
            exec,
            terminal,
            workload: None,
        },
        repeatable: args.icount,
        permission: common.permission(),
    }
}

/// What a command cannot guess; but the same every time where runs are to repeat.
fn nonce(repeatable: bool) -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    if repeatable {
        "0".into()
    } else {
        format!("{:x}{:08x}", std::process::id(), since.subsec_nanos())
    }
}

/// Signals become events; if nobody takes them in time, the tool ends all the same, and QEMU with it.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])
        .map_err(|error| Error::program("signals", error))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            terminal::restore();
            let _ = events.send(Event::Signal(signal));
            std::thread::sleep(LAST_GRACE);
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
    Ok(())
}

fn report(ended: &Ended, interactive: bool) -> ExitCode {
    let _ = stdout().flush();
    if let Some(statistics) = &ended.statistics {
        eprint!("\n{}", Lines(statistics));
    }
    if let Some(text) = ended.end.report(ended.panicked, &ended.log) {
        eprintln!("atoll: {}", Lines(&text));
        if !interactive && !ended.last_lines.is_empty() {
            eprintln!(
                "atoll: the guest's last lines:\n  {}",
                Lines(&ended.last_lines.replace('\n', "\n  "))
            );
        }
    }
    let code = ended.end.status(ended.panicked, ended.command);
    if code == 0 && ended.never_started {
        eprintln!(
            "atoll: the guest ended before it ran the command; its last lines:\n  {}",
            Lines(&ended.last_lines.replace('\n', "\n  "))
        );
        return ExitCode::from(status::TOOL);
    }
    ExitCode::from(code)
}
