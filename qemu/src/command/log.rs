//! `atoll log`: what a running machine's kernel has logged.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::{json, print};
use crate::cli::Asked;
use crate::error::Result;
use crate::run::instance::{control_of, log_of};
use crate::run::log::{self, Tail};

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
        let text = log::text(&path)?;
        return json(&Log {
            machine: name,
            lines: text.lines().collect(),
        });
    }
    let mut tail = Tail::of(&path);
    loop {
        // Asked first: what is written before the machine ends is still read.
        let running = follow && control_of(name).is_ok();
        print(&tail.more()?)?;
        if !running {
            return Ok(());
        }
        sleep(PERIOD);
    }
}
