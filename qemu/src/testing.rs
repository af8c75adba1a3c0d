//! Booting guests in tests: an ordinary test names a guest, boots it, and looks at how it ended and at what it printed. Each boot has a
//! directory of its own, so tests run in parallel; the system is built once.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::bare::{Toolchain, build};
use crate::bench::linux;
use crate::console::{Event, Keyboard};
use crate::emulator::{Arguments, Emulator, arguments};
use crate::error::{Error, Result};
use crate::guest::archive::Archive;
use crate::guest::init::Marks;
use crate::guest::initramfs::Job;
use crate::guest::{Choice, Guest};
use crate::place;
use crate::run::{End, Ended, Instance, Plan, Session};

mod emulator;
mod visit;

use atoll_manifest::{LINUX, LINUX_NAME, Machine};
pub use emulator::Running;
use visit::Screen;
pub use visit::Visit;

/// A guest must have ended by then, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// A boot to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Boot {
    choice: Choice,
    manifest: String,
    swaps: Vec<(String, PathBuf)>,
    programs: Vec<(String, String)>,
    memory: Option<u64>,
    icount: bool,
    direct: bool,
    digests: bool,
    log: Option<PathBuf>,
    script: Vec<(Vec<u8>, Vec<u8>)>,
    patience: Duration,
}

/// How it went.
#[derive(Debug)]
pub struct Booted {
    /// The exit status that the tool would have.
    pub status: u8,
    /// Everything that the guest printed; with a command, only its output.
    pub console: String,
    /// The kernel's log.
    pub log: String,
    /// The details.
    pub ended: Ended,
}

impl Boot {
    fn of(choice: Choice) -> Self {
        Self {
            choice,
            manifest: LINUX.to_owned(),
            swaps: Vec::new(),
            programs: Vec::new(),
            memory: None,
            icount: false,
            direct: false,
            digests: false,
            log: None,
            script: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// A guest from `qemu/guests`, or `linux`, or `generic`.
    pub fn guest(name: &str) -> Self {
        Self::of(Choice {
            name: Some(name.to_owned()),
            ..Choice::default()
        })
    }

    /// A kernel's file.
    pub fn kernel(path: impl Into<PathBuf>) -> Self {
        Self::of(Choice {
            kernel: Some(path.into()),
            ..Choice::default()
        })
    }

    /// Uses another manifest.
    pub fn manifest(mut self, text: &str) -> Self {
        self.manifest = text.to_owned();
        self
    }

    /// Changes the manifest: `from` must occur in it, and becomes `to` everywhere.
    pub fn change(mut self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from), "the manifest has no '{from}'");
        self.manifest = self.manifest.replace(from, to);
        self
    }

    /// Puts the crate in `dir` into the place of a server, by its name or role.
    pub fn swap(mut self, server: &str, dir: &Path) -> Self {
        self.swaps.push((server.to_owned(), dir.to_owned()));
        self
    }

    /// Adds to the guest's command line.
    pub fn append(mut self, text: &str) -> Self {
        self.choice.append = Some(text.to_owned());
        self
    }

    /// Gives the guest this much memory, in bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Runs a command in the guest's shell.
    pub fn exec(mut self, command: &str) -> Self {
        self.choice.job = Job {
            exec: Some((command.to_owned(), Marks::new("test"))),
            ..Job::default()
        };
        self
    }

    /// Gives Linux a program, as `/NAME`: that of this name in the workspace `qemu/DIRECTORY`.
    pub fn program(mut self, directory: &str, name: &str) -> Self {
        self.programs.push((directory.to_owned(), name.to_owned()));
        self
    }

    /// Types `keys` once the guest has printed `text` (after what the previous call waited for).
    pub fn type_after(mut self, text: &str, keys: &str) -> Self {
        self.script.push((text.into(), keys.into()));
        self
    }

    /// Counts time in instructions: the run repeats bit by bit.
    pub fn icount(mut self) -> Self {
        self.icount = true;
        self.choice.repeatable = true;
        self
    }

    /// Leaves Atoll out.
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Uses a kernel that logs digests of what servers must not touch.
    pub fn digests(mut self) -> Self {
        self.digests = true;
        self
    }

    /// Has QEMU write the kernel's log to this file, which is not read.
    pub fn log_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Gives up after `patience`, with status 124.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Boots, and waits for the end.
    pub fn run(&self) -> Result<Booted> {
        self.ready()?.run(
            self,
            &mpsc::channel(),
            &Keyboard::default(),
            &Screen::default(),
        )
    }

    /// Boots, lets `visit` look at the machine and talk to it over its control line, and ends the machine when `visit` is done.
    pub fn visit<T: Send>(
        &self,
        visit: impl FnOnce(&Visit<'_>) -> T + Send,
    ) -> Result<(Booted, T)> {
        self.beside(|| true, visit)
    }

    /// Boots and waits for the end, while `visit` does something to the machine over its control line. It must come to an end of its own
    /// when the machine is gone; if it panics, the machine is ended.
    pub fn meanwhile<T: Send>(
        &self,
        visit: impl FnOnce(&Visit<'_>) -> T + Send,
    ) -> Result<(Booted, T)> {
        self.beside(thread::panicking, visit)
    }

    fn beside<T: Send>(
        &self,
        ends: fn() -> bool,
        visit: impl FnOnce(&Visit<'_>) -> T + Send,
    ) -> Result<(Booted, T)> {
        let ready = self.ready()?;
        let events = mpsc::channel();
        let end = EndOfVisit {
            events: events.0.clone(),
            ends,
        };
        let (keyboard, screen) = (Keyboard::default(), Screen::default());
        let visited = Visit::new(ready.instance.machine_control(), keyboard.clone(), &screen);
        thread::scope(|scope| {
            let visitor = scope.spawn(move || {
                let _end = end;
                visit(&visited)
            });
            let booted = ready.run(self, &events, &keyboard, &screen)?;
            Ok((
                booted,
                visitor
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            ))
        })
    }

    /// Builds and packs everything.
    fn ready(&self) -> Result<Ready> {
        let mut machine = Machine::parse(LINUX_NAME, &self.manifest)?;
        for (server, dir) in &self.swaps {
            machine
                .replace(server, dir)
                .map_err(Error::option("--swap"))?;
        }
        machine.memory = self.memory.unwrap_or(machine.memory);
        let permission = self.choice.permission;
        let mut guest = self.choice.find()?;
        let mut more = Archive::default();
        for (directory, name) in &self.programs {
            more.file(
                name,
                0o755,
                &linux::program_of(directory, name, permission.offline)?,
            )?;
        }
        if !self.programs.is_empty() {
            guest.unpack_also(more)?;
        }
        let instance = Instance::temporary()?;
        let plan = Plan {
            machine: &machine,
            guest: &guest,
            icount: self.icount,
            direct: self.direct,
            permission,
        };
        let mut arguments = plan.prepare(&instance)?;
        if let (true, arguments::Boot::Atoll { kernel, .. }) = (self.digests, &mut arguments.boot) {
            *kernel = build::digesting_kernel(&place::workspace()?, &Toolchain::find(permission)?)?
                .kernel();
        }
        if let (Some(to), arguments::Boot::Atoll { log, .. }) = (&self.log, &mut arguments.boot) {
            log.clone_from(to);
        }
        Ok(Ready {
            emulator: Emulator::find(permission.offline)?,
            arguments,
            instance,
            guest,
        })
    }
}

/// Lines of the kernel's log, and of the console, that a failed comparison shows.
const TAIL: usize = 30;

impl Booted {
    /// That the guest powered off and has printed what it has printed in another run.
    ///
    /// # Panics
    /// It has not; the message tells how it ended, where it differs, and the end of the kernel's log.
    pub fn assert_like(&self, golden: &Booted) {
        let (mine, its) = (self.console.as_bytes(), golden.console.as_bytes());
        if mine == its && (self.status, &self.ended.end) == (golden.status, &End::PowerOff) {
            return;
        }
        let mut report = format!(
            "ended by {:?} with status {}\n",
            self.ended.end, self.status
        );
        let mut lines = self.console.lines().zip(golden.console.lines()).enumerate();
        let _ = match lines.find(|(_, (mine, its))| mine != its) {
            Some((line, (mine, its))) => {
                writeln!(report, "line {} is {mine:?}, not {its:?}", line + 1)
            }
            None => writeln!(report, "{} bytes of console, not {}", mine.len(), its.len()),
        };
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL)..].join("\n  ")
        };
        panic!(
            "{report}console, its end:\n  {}\nlog, its end:\n  {}",
            tail(&self.ended.last_lines),
            tail(&self.log)
        );
    }
}

/// Ends the machine when the visit is over, if that is how it ends.
struct EndOfVisit {
    events: Sender<Event>,
    ends: fn() -> bool,
}

impl Drop for EndOfVisit {
    fn drop(&mut self) {
        if (self.ends)() {
            let _ = self.events.send(Event::Quit);
        }
    }
}

/// All that a boot needs.
struct Ready {
    emulator: Emulator,
    arguments: Arguments,
    instance: Instance,
    guest: Guest,
}

impl Ready {
    fn run(
        &self,
        boot: &Boot,
        events: &(Sender<Event>, Receiver<Event>),
        keyboard: &Keyboard,
        screen: &Screen,
    ) -> Result<Booted> {
        let _open = screen.open();
        let session = Session {
            emulator: &self.emulator,
            arguments: &self.arguments,
            instance: &self.instance,
            keyboard,
            marks: self.guest.marks.as_ref(),
            script: &boot.script,
            stats: false,
            deadline: Some(Instant::now() + boot.patience),
            faults: None,
        };
        let ended = session.run(events, &mut &*screen)?;
        Ok(Booted {
            status: ended.end.status(ended.panicked, ended.command),
            console: screen.text(),
            log: ended.log.clone(),
            ended,
        })
    }
}
