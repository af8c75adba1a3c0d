//! `atoll boot`: from what was asked for to a running guest, and to the status that says how it ended.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use atoll_manifest::{MEMORY_LEAST, MEMORY_UNIT, Machine, ranges};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::campaign::grammar::Fault;
use crate::campaign::journal::{Event as JournalEvent, Journal};
use crate::campaign::lab::entry::Entry;
use crate::cli::{BootArgs, Common};
use crate::console::{Event, Keyboard, terminal};
use crate::emulator::Emulator;
use crate::error::{Error, Result};
use crate::guest::Choice;
use crate::guest::addition::{self, Retrieval};
use crate::guest::init::Marks;
use crate::guest::initramfs::Job;
use crate::progress::note;
use crate::run::outcome::status;
use crate::run::whereabouts;
use crate::run::{End, Ended, Instance, Plan, Session};
use crate::shown::complain;

/// How long a machine may take to end after a signal before it is ended.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Boots; and boots again when the guest reboots.
pub(super) fn run(args: &BootArgs, common: &Common) -> Result<ExitCode> {
    // What can be wrong with the command line is told before anything is fetched or built.
    let machine = machine(args)?;
    args.get.iter().try_for_each(Retrieval::check)?;
    let instance = Instance::claim(&args.name)?;
    let guest = choice(args, common).find()?;
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
    arguments.debugger = args.gdb.clone();
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
        complain("");
    }
    drop(raw);
    if !args.get.is_empty() && ended.command.is_some() {
        addition::unpack(&ended.files, &args.get)?;
    }
    hits(&args.inject, &Journal::read(&ended.log));
    Ok(report(&ended, interactive, args.stats))
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
        machine.memory = memory(text)?;
    }
    Ok(machine)
}

/// A size of memory: what is wrong with it is said as it is.
fn memory(text: &str) -> Result<u64> {
    let wrong = |what: &str| Error::Usage {
        what: format!("--memory {text}: {what}, for example 256M or 2G"),
    };
    let bytes = ranges::bytes(text)
        .ok_or_else(|| wrong("expected a whole number of bytes with K, M or G behind it"))?;
    if bytes < MEMORY_LEAST {
        return Err(wrong("expected at least 32M"));
    }
    if !bytes.is_multiple_of(MEMORY_UNIT) {
        return Err(wrong("expected a multiple of 2M"));
    }
    Ok(bytes)
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
        add: args.add.clone(),
        job: Job {
            exec,
            get: args.get.clone(),
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

/// Says what became of each fault that was to be injected.
fn hits(faults: &[Fault], journal: &Journal) {
    for (place, fault) in (0_u8..).zip(faults) {
        let of_it = |event: &&JournalEvent| match event {
            JournalEvent::Injected { entry, .. } => *entry == place,
            _ => false,
        };
        let found = |event: &&JournalEvent| match event {
            JournalEvent::Detected { entry, .. } => *entry == Some(place),
            _ => false,
        };
        note(match journal.events.iter().filter(of_it).count() {
            0 => format!("fault '{fault}': it hit nothing"),
            hits => format!(
                "fault '{fault}': it hit {hits} {}, of which {} were noticed",
                if hits == 1 { "message" } else { "messages" },
                journal.events.iter().filter(found).count()
            ),
        });
    }
    if !faults.is_empty() {
        note(format!(
            "servers were faulted {} times, and answered again {} times",
            journal.detected(),
            journal.recovered()
        ));
    }
}

fn report(ended: &Ended, interactive: bool, stats: bool) -> ExitCode {
    let _ = stdout().flush();
    match &ended.totals {
        Some(totals) if stats => complain(format_args!("\n{}", totals.text().trim_end())),
        None if stats => {
            note("there are no statistics: the machine has ended before it could tell any");
        }
        _ => {}
    }
    let last_lines = || ended.last_lines.replace('\n', "\n  ");
    if let Some(text) = ended.end.report(ended.panicked, &ended.log) {
        note(text);
        if let Some(totals) = &ended.totals
            && ended.end.is_a_wait_in_vain()
        {
            whereabouts::text(&totals.machine).lines().for_each(note);
        }
        if !interactive && !ended.last_lines.is_empty() {
            note(format!("the guest's last lines:\n  {}", last_lines()));
        }
    }
    let code = ended.end.status(ended.panicked, ended.command);
    if code == 0 && ended.never_started {
        note(format!(
            "the command's output was not seen: the guest ended before it ran the command, or its console does not show what is written to it; \
             its last lines:\n  {}",
            last_lines()
        ));
        return ExitCode::from(status::TOOL);
    }
    ExitCode::from(code)
}
