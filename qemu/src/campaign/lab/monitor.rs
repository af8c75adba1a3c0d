//! QEMU's monitor: one JSON object a line, over a Unix socket (QMP).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// How long QEMU may take to listen, and to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// How often to look whether it has done what it was asked.
const PERIOD: Duration = Duration::from_millis(2);

/// An open monitor.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
}

/// Connects to a socket that QEMU is about to make.
pub(super) fn connect(path: &Path) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream
                    .set_read_timeout(Some(PATIENCE))
                    .map_err(Error::file(path))?;
                return Ok(stream);
            }
            Err(error) if start.elapsed() > PATIENCE => return Err(Error::file(path)(error)),
            Err(_) => std::thread::sleep(PERIOD),
        }
    }
}

impl Monitor {
    /// Connects to the monitor that listens on `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let mut monitor = Self {
            lines: BufReader::new(connect(path)?),
        };
        monitor.read()?;
        monitor.ask("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self
            .lines
            .read_line(&mut line)
            .map_err(|error| Error::program("QEMU's monitor", error))?;
        if read == 0 {
            return Err(Error::program("QEMU's monitor", "QEMU has ended"));
        }
        serde_json::from_str(&line).map_err(|error| Error::program("QEMU's monitor", error))
    }

    /// Asks, and waits for the answer; events are passed over.
    pub fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        self.lines
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(|error| Error::program("QEMU's monitor", error))?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                return Err(Error::program(
                    "QEMU's monitor",
                    format_args!("{command}: {error}"),
                ));
            }
            if let Some(found) = answer.get_mut("return") {
                return Ok(found.take());
            }
        }
    }

    /// Lets memory that lies in a file stay there when the machine's state is moved.
    fn leave_memory_in_its_file(&mut self) -> Result<()> {
        let capability =
            json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] });
        self.ask("migrate-set-capabilities", capability).map(drop)
    }

    /// Writes the devices' state to a file. The machine is stopped.
    pub fn save(&mut self, state: &Path) -> Result<()> {
        self.leave_memory_in_its_file()?;
        self.ask(
            "migrate",
            json!({ "uri": format!("exec:cat > {}", quoted(state)) }),
        )?;
        self.wait("query-migrate", &["completed"], &["failed", "cancelled"])
    }

    /// Reads it.
    pub fn load(&mut self, state: &Path) -> Result<()> {
        self.leave_memory_in_its_file()?;
        self.ask(
            "migrate-incoming",
            json!({ "uri": format!("exec:cat {}", quoted(state)) }),
        )?;
        self.wait(
            "query-status",
            &["paused", "guest-panicked"],
            &["internal-error", "io-error"],
        )
    }

    /// Waits until the kernel has passed its pause: the device that it writes to stops the machine as if its guest had crashed.
    pub fn wait_for_pause(&mut self) -> Result<()> {
        // Not by asking again and again: what wakes QEMU between the instruction and the stop lets it take the machine for idle, and
        // virtual time leap to the next timer.
        while self.read()?.get("event").and_then(Value::as_str) != Some("STOP") {}
        self.wait(
            "query-status",
            &["guest-panicked"],
            &["shutdown", "internal-error", "io-error"],
        )
    }

    fn wait(&mut self, command: &str, done: &[&str], failed: &[&str]) -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = self.ask(command, json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or("");
            if done.contains(&status) {
                return Ok(());
            }
            if failed.contains(&status) || start.elapsed() > PATIENCE {
                return Err(Error::program(
                    "QEMU",
                    format_args!(
                        "after '{command}' it is not {}, but {answer}",
                        done.join(" or ")
                    ),
                ));
            }
            std::thread::sleep(PERIOD);
        }
    }

    /// Stops the machine.
    pub fn stop(&mut self) -> Result<()> {
        self.ask("stop", json!({})).map(drop)
    }

    /// Lets it run.
    pub fn resume(&mut self) -> Result<()> {
        self.ask("cont", json!({})).map(drop)
    }
}

/// A path as one word for the shell that QEMU runs.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_in_the_shell() {
        assert_eq!(quoted(Path::new("/a b/c'd")), r"'/a b/c'\''d'");
    }
}
