//! Booting guests in tests: an ordinary test names a guest, boots it, and looks at how it ended and at what it printed. Each boot has a
//! directory of its own, so tests run in parallel; the system is built once.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::console::Keyboard;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::guest::Choice;
use crate::guest::init::Marks;
use crate::guest::initramfs::Job;
use crate::machine::{LINUX, LINUX_NAME, Machine};
use crate::run::{Ended, Instance, Plan, Session};

/// A guest must have ended by then, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// A boot to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Boot {
    choice: Choice,
    manifest: String,
    memory: Option<u64>,
    icount: bool,
    direct: bool,
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
            memory: None,
            icount: false,
            direct: false,
            script: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// A guest from `qemu/guests`, or `linux`, or `generic`.
    pub fn guest(name: &str) -> Self {
        Self::of(Choice { name: Some(name.to_owned()), ..Choice::default() })
    }

    /// A kernel's file.
    pub fn kernel(path: impl Into<PathBuf>) -> Self {
        Self::of(Choice { kernel: Some(path.into()), ..Choice::default() })
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
        self.choice.job = Job { exec: Some((command.to_owned(), Marks::new("test"))), terminal: None };
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

    /// Gives up after `patience`, with status 124.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Boots, and waits for the end.
    pub fn run(&self) -> Result<Booted> {
        let mut machine = Machine::parse(LINUX_NAME, &self.manifest)?;
        machine.memory = self.memory.unwrap_or(machine.memory);
        let guest = self.choice.find()?;
        let instance = Instance::temporary()?;
        let plan = Plan {
            machine: &machine,
            guest: &guest,
            icount: self.icount,
            direct: self.direct,
            permission: self.choice.permission,
        };
        let arguments = plan.prepare(&instance)?;
        let emulator = Emulator::find(self.choice.permission.offline)?;
        let session = Session {
            emulator: &emulator,
            arguments: &arguments,
            instance: &instance,
            keyboard: &Keyboard::default(),
            marks: guest.marks.as_ref(),
            script: &self.script,
            stats: false,
            deadline: Some(Instant::now() + self.patience),
        };
        let mut console = Vec::new();
        let ended = session.run(&mpsc::channel(), &mut console)?;
        Ok(Booted {
            status: ended.end.status(ended.panicked, ended.command),
            console: String::from_utf8_lossy(&console).into_owned(),
            log: ended.log.clone(),
            ended,
        })
    }
}
