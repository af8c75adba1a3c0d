//! `atoll kill`: faults a server of a running machine.

use super::json;
use crate::cli::Asked;
use crate::control::{Line, orders};
use crate::error::Result;

/// Faults it. As JSON it says whom.
pub(super) fn run(server: &str, asked: &Asked) -> Result<()> {
    let found = orders::kill(&mut Line::open(&asked.which.name)?, server)?;
    if asked.json { json(&found) } else { Ok(()) }
}
