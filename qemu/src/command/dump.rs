//! `atoll dump`: a server's last fault.

use super::json;
use crate::cli::Asked;
use crate::control::{Line, dump};
use crate::error::Result;

/// Prints it.
pub(super) fn run(server: &str, asked: &Asked) -> Result<()> {
    let dump = dump::dump(&mut Line::open(&asked.which.name)?, server)?;
    if asked.json {
        json(&dump)
    } else {
        super::print(&dump.text())
    }
}
