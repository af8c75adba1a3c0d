//! `atoll dump`: a server's last fault.

use crate::cli::Asked;
use crate::control::{Line, dump};
use crate::error::{Error, Result};
use crate::run::instance::left_log_of;
use crate::run::log;
use crate::shown::document;

/// Prints it; of a machine that has ended, the one that it left.
pub(super) fn run(server: &str, asked: &Asked) -> Result<()> {
    let name = &asked.which.name;
    let dump = match Line::open(name) {
        Err(Error::NotRunning { .. }) => {
            let log = log::text(&left_log_of(name)?)?;
            dump::left(name, &log, server)?
        }
        line => dump::dump(&mut line?, server)?,
    };
    if asked.json {
        document(&dump)
    } else {
        crate::shown::print(dump.text())
    }
}
