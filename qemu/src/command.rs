//! The sub-commands: one module each.

mod bench;
mod boot;
mod campaign;
mod check;
mod completions;
mod doctor;
mod fetch;
mod kill;
mod ping;
mod ps;
mod swap;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::emulator::leash;
use crate::error::Result;

/// Does what was asked for; the status is the program's.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match &cli.command {
        None => boot::run(&cli.boot, &cli.common),
        Some(Command::Boot(args)) => boot::run(args, &cli.common),
        Some(Command::Doctor) => doctor::run(&cli.common),
        Some(Command::Check { manifest }) => check::run(manifest).map(done),
        Some(Command::Fetch { debian_13 }) => fetch::run(*debian_13, &cli.common).map(done),
        Some(Command::Bench(args)) => bench::run(args, &cli.common),
        Some(Command::Campaign { what }) => campaign::run(what, &cli.common),
        Some(Command::Ps(which)) => ps::run(which).map(done),
        Some(Command::Swap { server, image, force, which }) => swap::run(server, image, *force, which).map(done),
        Some(Command::Kill { server, which }) => kill::run(server, which).map(done),
        Some(Command::Ping(which)) => ping::run(which).map(done),
        Some(Command::Completions { shell }) => completions::run(*shell).map(done),
        Some(Command::Leashed { parent, program, arguments }) => leash::become_leashed(*parent, program, arguments).map(done),
    }
}
