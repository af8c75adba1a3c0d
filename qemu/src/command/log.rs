//! `atoll log`: what a running machine's kernel has logged.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::{json, print};
use crate::cli::Asked;
use crate::error::{Error, Result};
use crate::run::instance::{control_of, log_of};

/// How often it is looked for more.
const PERIOD: Duration = Duration::from_millis(100);

/// The log as JSON.
#[derive(Serialize)]
struct Log<'l> {
    machine: &'l str,
    lines: Vec<&'l str>,
}

/// Prints it; with `follow` also what comes, until the machine ends.
pub(super) fn run(follow: bool, asked: &Asked) -> Result<()> {
    let name = &asked.which.name;
    let path = log_of(name)?;
    if asked.json {
        let text = String::from_utf8_lossy(&Tail::of(&path).more()?).into_owned();
        return json(&Log { machine: name, lines: text.lines().collect() });
    }
    let mut tail = Tail::of(&path);
    loop {
        // Asked first: what is written before the machine ends is still read.
        let running = follow && control_of(name).is_ok();
        print(&String::from_utf8_lossy(&tail.more()?))?;
        if !running {
            return Ok(());
        }
        sleep(PERIOD);
    }
}

/// A file that grows.
struct Tail<'p> {
    path: &'p Path,
    file: Option<File>,
}

impl<'p> Tail<'p> {
    fn of(path: &'p Path) -> Self {
        Self { path, file: None }
    }

    /// What is new. The file does not exist before QEMU has started.
    fn more(&mut self) -> Result<Vec<u8>> {
        if self.file.is_none() {
            match File::open(self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(Error::file(self.path)(error)),
            }
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes).map_err(Error::file(self.path))?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_later_is_read_later_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.log");
        let mut tail = Tail::of(&path);
        assert_eq!(tail.more().unwrap(), b"", "there is no file yet");
        let mut file = File::create(&path).unwrap();
        for part in ["one\n", "two", " three\n"] {
            file.write_all(part.as_bytes()).unwrap();
            assert_eq!(tail.more().unwrap(), part.as_bytes());
        }
        assert_eq!(tail.more().unwrap(), b"");
    }
}
