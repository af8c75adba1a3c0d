//! A running QEMU: its console as a pair of pipes, its complaints collected, its end certain.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::confine::{LAB_SANDBOX, SANDBOX};
use super::leash::leashed;
use super::{Arguments, Emulator};
use crate::error::{Error, Result};

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    complaints: Arc<Mutex<String>>,
}

impl Process {
    /// Starts it in `dir`, confined; gives the guest's console as well.
    pub fn start(
        emulator: &Emulator,
        arguments: &Arguments,
        dir: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let mut inner: Command = emulator.command();
        if emulator.sandbox {
            inner.args(if arguments.lab.is_some() {
                LAB_SANDBOX
            } else {
                SANDBOX
            });
        }
        inner.args(arguments.to_vec());
        tracing::debug!(command = ?inner, "starting QEMU");
        let mut child = leashed(inner, arguments.memory_mib)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::program(emulator.program.display(), error))?;
        let complaints = Arc::new(Mutex::new(String::new()));
        if let Some(mut stderr) = child.stderr.take() {
            let complaints = Arc::clone(&complaints);
            thread::spawn(move || {
                let mut chunk = [0; 1024];
                while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                    let text = String::from_utf8_lossy(&chunk[..read]).into_owned();
                    tracing::debug!(qemu = %text.trim_end());
                    if let Ok(mut all) = complaints.lock() {
                        all.push_str(&text);
                    }
                }
            });
        }
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((Self { child, complaints }, stdin, stdout)),
            _ => Err(Error::program("QEMU", "it has no console")),
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .map_err(|error| Error::program("QEMU", error))
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it complained about.
    #[must_use]
    pub fn complaints(&self) -> String {
        self.complaints
            .lock()
            .map_or_else(|_| String::new(), |text| text.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
