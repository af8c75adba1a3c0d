//! A running machine of the laboratory.

use std::io::Read;
use std::path::Path;
use std::process::{ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use atoll_protocol::inject::Plan;
use zerocopy::IntoBytes;

use super::Lab;
use super::debugger::Debugger;
use super::monitor::Monitor;
use crate::emulator::Process;
use crate::error::{Error, Result};

/// A running machine, stopped at first.
#[derive(Debug)]
pub struct Running<'l> {
    lab: &'l Lab,
    process: Process,
    monitor: Monitor,
    debugger: Debugger,
    /// Nothing is typed there; closed, it would tell the guest so.
    _keys: ChildStdin,
    console: Receiver<Vec<u8>>,
    log: std::path::PathBuf,
}

/// What a run has left.
#[derive(Debug)]
pub struct Collected {
    /// Everything that the guest printed.
    pub console: Vec<u8>,
    /// The kernel's log.
    pub log: String,
    /// QEMU's status; `None` if it had to be ended.
    pub exit: Option<ExitStatus>,
    /// What QEMU complained about.
    pub complaints: String,
    /// How long it took, from the first instruction, by the host's clock.
    pub wall: Duration,
}

impl<'l> Running<'l> {
    /// Starts QEMU in a directory of its own; `memory` is the machine's memory.
    pub fn start(
        lab: &'l Lab,
        dir: &Path,
        memory: &Path,
        shared: bool,
        incoming: bool,
    ) -> Result<Self> {
        let (monitor, debugger, log) = (
            dir.join("monitor.sock"),
            dir.join("debugger.sock"),
            dir.join("kernel.log"),
        );
        let arguments = lab.experiment(dir, memory, shared, incoming);
        let (mut process, _keys, mut output) = Process::start(&lab.emulator, &arguments, dir)?;
        let (sender, console) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                if sender.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let connected =
            Monitor::open(&monitor).and_then(|monitor| Ok((monitor, Debugger::open(&debugger)?)));
        match connected {
            Ok((monitor, debugger)) => Ok(Self {
                lab,
                process,
                monitor,
                debugger,
                _keys,
                console,
                log,
            }),
            Err(error) => {
                process.kill();
                let complaints = process.complaints();
                Err(if complaints.is_empty() {
                    error
                } else {
                    Error::program("QEMU", complaints)
                })
            }
        }
    }

    /// The machine's monitor.
    pub fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// Leaves a plan in the kernel's page. The machine is stopped.
    pub fn leave(&mut self, plan: &Plan) -> Result<()> {
        self.debugger.write(self.lab.symbols.plan, plan.as_bytes())
    }

    /// Lets it run until the console shows what is waited for; stops it, and gives the time there, in ticks.
    pub fn run_until(&mut self, shown: &regex::bytes::Regex, wall: Duration) -> Result<u64> {
        self.monitor.resume()?;
        let deadline = Instant::now() + wall;
        let mut seen = Vec::new();
        while !shown.is_match(&seen) {
            match self
                .console
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => seen.extend(bytes),
                Err(_) => {
                    let text = String::from_utf8_lossy(&seen);
                    let tail: Vec<&str> = text.lines().rev().take(5).collect();
                    return Err(Error::program(
                        "the guest",
                        format_args!("it never showed '{shown}', but: {tail:?}"),
                    ));
                }
            }
        }
        self.monitor.stop()?;
        self.debugger.number(self.lab.symbols.clock)
    }

    /// Lets it run until the kernel passes its pause; it is stopped there. Gives the time there, in ticks.
    pub fn run_to_pause(&mut self) -> Result<u64> {
        self.monitor.resume()?;
        self.monitor.wait_for_pause()?;
        self.debugger.number(self.lab.symbols.clock)
    }

    /// Lets it run to its end.
    pub fn finish(mut self, wall: Duration) -> Result<Collected> {
        self.monitor.resume()?;
        let start = Instant::now();
        let mut console = Vec::new();
        let ended = loop {
            match self
                .console
                .recv_timeout((start + wall).saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => console.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        let exit = if ended {
            Some(self.process.wait()?)
        } else {
            None
        };
        let wall = start.elapsed();
        self.process.kill();
        let log = std::fs::read(&self.log).map_err(Error::file(&self.log))?;
        let log = String::from_utf8_lossy(&log).into_owned();
        Ok(Collected {
            console,
            log,
            exit,
            complaints: self.process.complaints(),
            wall,
        })
    }
}
