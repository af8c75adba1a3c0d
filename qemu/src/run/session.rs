//! One boot, from QEMU's start to its end: output is passed on and watched, keys go the other way, the clock is kept.

use std::io::{Read, Write};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::log::{self, Keeper};
use super::statistics::Totals;
use super::{End, Instance};
use crate::campaign::lab::entry::Entry;
use crate::console::exec::Extract;
use crate::console::{Event, Keyboard, Watch, escape};
use crate::control::Line;
use crate::control::multiplexer::Multiplexer;
use crate::emulator::arguments::Boot;
use crate::emulator::{Arguments, Emulator, Process};
use crate::error::{Error, Result};
use crate::guest::init::Marks;

/// How long a guest may take to end after its command has, or after its kernel has given up.
const GRACE: Duration = Duration::from_secs(10);

/// What one boot needs.
#[derive(Debug)]
pub struct Session<'s> {
    /// QEMU.
    pub emulator: &'s Emulator,
    /// Its machine.
    pub arguments: &'s Arguments,
    /// The machine's directory.
    pub instance: &'s Instance,
    /// Where keys come from.
    pub keyboard: &'s Keyboard,
    /// A command's marks: only its output is passed on.
    pub marks: Option<&'s Marks>,
    /// Texts to wait for, one after the other, and what to type then.
    pub script: &'s [(Vec<u8>, Vec<u8>)],
    /// Whether to ask for statistics before it is ended by the user.
    pub stats: bool,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Faults for a machine that waits for them.
    pub faults: Option<&'s Entry>,
}

/// How it went.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// Whether the guest's kernel panicked.
    pub panicked: bool,
    /// The command's status, if it ended.
    pub command: Option<i32>,
    /// What the guest has shown of files to bring back, if there were any.
    pub files: Vec<u8>,
    /// Whether a command was to run, and was not even started.
    pub never_started: bool,
    /// The console's last lines.
    pub last_lines: String,
    /// The kernel's log.
    pub log: String,
    /// What the machine had to tell of itself at its end, if there was anybody to tell it, or it was asked.
    pub totals: Option<Totals>,
}

impl Session<'_> {
    /// Boots, and stays until the end. The events' sender is this session's own way to talk to itself, and the keyboard's to talk to it.
    pub fn run(
        &self,
        events: &(Sender<Event>, Receiver<Event>),
        output: &mut dyn Write,
    ) -> Result<Ended> {
        self.instance.clear()?;
        let _multiplexer = match self.arguments.boot {
            Boot::Atoll { ref control, .. } => Some(Multiplexer::start(
                self.instance.name(),
                control.clone(),
                &self.instance.control(),
            )?),
            Boot::Direct { .. } => None,
        };
        let (mut process, line, console) =
            Process::start(self.emulator, self.arguments, self.instance.dir())?;
        let _keeper = Keeper::start(self.instance.log());
        if let Some(faults) = self.faults {
            faults.enter()?;
        }
        self.keyboard.connect(line);
        pass_on(console, events.0.clone());
        let mut watch = Watch::default();
        let mut extract = self.marks.map(Extract::new);
        let mut script = self.script.iter().peekable();
        let mut deadline = self.deadline;
        let end = loop {
            match next(&events.1, deadline) {
                Some(Event::Output(bytes)) => {
                    watch.feed(&bytes);
                    let shown = extract
                        .as_mut()
                        .map_or(bytes.clone(), |extract| extract.feed(&bytes));
                    output
                        .write_all(&shown)
                        .and_then(|()| output.flush())
                        .map_err(Error::file("standard output"))?;
                    if watch.ready() {
                        self.keyboard.guest_is_ready();
                    }
                    while let Some((_, keys)) = script.next_if(|(text, _)| watch.take(text)) {
                        self.keyboard.send(keys);
                    }
                    if watch.panicked() || finished(&extract) {
                        let latest = Instant::now() + GRACE;
                        deadline = Some(deadline.map_or(latest, |deadline| deadline.min(latest)));
                    }
                }
                Some(Event::Closed) => break None,
                Some(Event::Help) => output
                    .write_all(escape::HELP.as_bytes())
                    .map_err(Error::file("standard output"))?,
                Some(Event::Quit) => break Some(End::Quit),
                Some(Event::Signal(signal)) => return Err(Error::Signal { signal }),
                None if watch.panicked() => break Some(End::GuestCrash),
                None if finished(&extract) => break Some(End::Quit),
                None => break Some(End::TimedOut),
            }
        };
        if let Some(extract) = &mut extract {
            let _ = output
                .write_all(&extract.rest())
                .and_then(|()| output.flush());
        }
        let mut totals = None;
        let end = match end {
            Some(end) => {
                if self.stats || end != End::Quit {
                    totals = self.last_words();
                }
                process.kill();
                drain(&events.1);
                end
            }
            None => self.end_of(&mut process)?,
        };
        let log = self.instance.log_text();
        Ok(Ended {
            end,
            panicked: watch.panicked(),
            command: extract.as_ref().and_then(Extract::status),
            files: extract
                .as_mut()
                .map(Extract::take_files)
                .unwrap_or_default(),
            never_started: extract.is_some_and(|extract| !extract.started()),
            last_lines: watch.last_lines(12),
            totals: totals.or_else(|| Totals::in_log(&log)),
            log: log::readable(&log),
        })
    }

    /// Asks a machine that is about to be ended.
    fn last_words(&self) -> Option<Totals> {
        let Boot::Atoll { .. } = self.arguments.boot else {
            return None;
        };
        let line = Line::shared(self.instance.name(), &self.instance.control());
        Totals::ask(&mut line.ok()?.quietly()).ok()
    }

    fn end_of(&self, process: &mut Process) -> Result<End> {
        let exit = process.wait()?;
        let end = match self.arguments.boot {
            Boot::Atoll { .. } => End::of_atoll(exit),
            Boot::Direct { .. } => End::of_direct(exit),
        };
        let complaints = process.complaints();
        match end {
            // QEMU's own errors end it with 1, before anything ran.
            End::Unexpected(_) if exit.code() == Some(1) && !complaints.is_empty() => Err(
                Error::program("QEMU", complaints.lines().next().unwrap_or_default()),
            ),
            End::Unexpected(what) if !complaints.is_empty() => {
                Ok(End::Unexpected(format!("{what} ({complaints})")))
            }
            end => Ok(end),
        }
    }
}

fn finished(extract: &Option<Extract>) -> bool {
    extract
        .as_ref()
        .is_some_and(|extract| extract.status().is_some())
}

fn next(events: &Receiver<Event>, deadline: Option<Instant>) -> Option<Event> {
    let received = match deadline {
        Some(deadline) => events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match received {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Event::Closed),
    }
}

/// Takes what a killed machine still had to say, so that the next one does not.
fn drain(events: &Receiver<Event>) {
    while let Ok(event) = events.recv_timeout(Duration::from_secs(2)) {
        if matches!(event, Event::Closed) {
            return;
        }
    }
}

fn pass_on(mut console: ChildStdout, events: Sender<Event>) {
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = console.read(&mut chunk) {
            if events.send(Event::Output(chunk[..read].to_vec())).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Closed);
    });
}
