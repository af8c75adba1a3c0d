//! `atoll ping`: whether the control server of a running machine answers, and how fast.

use std::time::Instant;

use atoll_protocol::control::{Ask, Tell};

use crate::cli::Which;
use crate::control::Line;
use crate::error::Result;
use crate::shown::print;

/// Asks once.
pub(super) fn run(which: &Which) -> Result<()> {
    let mut line = Line::open(&which.name)?;
    let number = std::process::id();
    let start = Instant::now();
    line.ask(Ask::Ping(number))?;
    line.answer(|tell| (*tell == Tell::Pong(number)).then_some(()))?;
    print(format_args!(
        "{} answered after {:.1} ms\n",
        which.name,
        start.elapsed().as_secs_f64() * 1000.0
    ))
}
