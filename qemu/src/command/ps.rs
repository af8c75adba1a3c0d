//! `atoll ps`: the servers of a running machine.

use super::json;
use crate::cli::Asked;
use crate::control::{Line, listing};
use crate::error::Result;
use crate::run::instance::counts_instructions;

/// Prints them.
pub(super) fn run(asked: &Asked) -> Result<()> {
    let name = &asked.which.name;
    let listing = listing::listing(&mut Line::open(name)?, counts_instructions(name)?)?;
    if asked.json {
        json(&listing)
    } else {
        super::print(&listing.table())
    }
}
