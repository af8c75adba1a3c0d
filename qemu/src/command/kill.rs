//! `atoll kill`: faults a server of a running machine.

use crate::cli::Which;
use crate::control::{Line, orders};
use crate::error::Result;

/// Faults it.
pub(super) fn run(server: &str, which: &Which) -> Result<()> {
    orders::kill(&mut Line::open(&which.name)?, server)
}
