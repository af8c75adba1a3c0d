//! `atoll log`: what the kernel of a running machine, or of the last one of its name, has logged.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Asked;
use crate::error::{Error, Result};
use crate::run::instance::{control_of, left_log_of, log_of};
use crate::run::log::{self, Tail};
use crate::shown::{document, print};

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
    let path = match log_of(name) {
        Err(Error::NotRunning { .. }) => left_log_of(name)?,
        path => path?,
    };
    if asked.json {
        let text = log::readable(&log::text(&path)?);
        return document(&Log {
            machine: name,
            lines: text.lines().collect(),
        });
    }
    let mut tail = Tail::of(&path);
    let mut rest = String::new();
    loop {
        // Asked first: what is written before the machine ends is still read.
        let running = follow && control_of(name).is_ok();
        rest += &tail.more()?;
        // Of a line that is being written it is not known yet whether it is for people.
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = rest.drain(..whole).collect();
        print(log::readable(&lines))?;
        if !running {
            return print(log::readable(&rest));
        }
        sleep(PERIOD);
    }
}
