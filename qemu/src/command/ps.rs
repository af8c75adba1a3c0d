//! `atoll ps`: the servers of a running machine.

use crate::cli::Asked;
use crate::control::{Line, listing};
use crate::error::Result;
use crate::run::instance::counts_instructions;
use crate::shown::document;

/// Prints them.
pub(super) fn run(asked: &Asked) -> Result<()> {
    let name = &asked.which.name;
    let listing = listing::listing(&mut Line::open(name)?, counts_instructions(name)?)?;
    if asked.json {
        document(&listing)
    } else {
        crate::shown::print(listing.table())
    }
}
