//! `atoll ps`: the servers of a running machine.

use crate::cli::Which;
use crate::control::Line;
use crate::control::tables;
use crate::error::Result;

/// Prints them.
pub(super) fn run(which: &Which) -> Result<()> {
    let mut line = Line::open(&which.name)?;
    print!("{}", tables::servers(&mut line)?);
    Ok(())
}
