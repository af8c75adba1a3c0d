//! `atoll swap`: one server for another in a running machine.

use crate::cli::Which;
use crate::control::{Line, orders};
use crate::error::Result;

/// Swaps.
pub(super) fn run(server: &str, image: &str, force: bool, which: &Which) -> Result<()> {
    orders::swap(&mut Line::open(&which.name)?, server, image, force)
}
