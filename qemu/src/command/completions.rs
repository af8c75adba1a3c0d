//! `atoll completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::Result;

/// Prints them.
pub(super) fn run(shell: Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Cli::command(), "atoll", &mut std::io::stdout());
    Ok(())
}
