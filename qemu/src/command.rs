//! The sub-commands: one module each.

mod bench;
mod boot;
mod campaign;
mod check;
mod completions;
mod doctor;
mod dump;
mod fetch;
mod help;
mod kill;
mod log;
mod new_server;
mod ping;
mod ps;
mod swap;
mod top;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::emulator::leash;
use crate::error::Result;
use crate::template::Wanted;

/// Does what was asked for; the status is the program's.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match &cli.command {
        None => boot::run(&cli.boot, &cli.common),
        Some(Command::Boot(args)) => boot::run(args, &cli.common),
        Some(Command::Help { topic }) => help::run(topic.as_deref()).map(done),
        Some(Command::Doctor) => doctor::run(&cli.common),
        Some(Command::Check { manifest }) => check::run(manifest, &cli.common).map(done),
        Some(Command::Fetch { debian_13, from }) => {
            fetch::run(*debian_13, from.as_deref(), &cli.common).map(done)
        }
        Some(Command::Bench(args)) => bench::run(args, &cli.common),
        Some(Command::Campaign { what }) => campaign::run(what, &cli.common),
        Some(Command::Ps(asked)) => ps::run(asked).map(done),
        Some(Command::Top(args)) => top::run(args).map(done),
        Some(Command::Dump { server, asked }) => dump::run(server, asked).map(done),
        Some(Command::Log { follow, asked }) => log::run(*follow, asked).map(done),
        Some(Command::NewServer {
            role,
            name,
            path,
            around,
        }) => {
            let wanted = Wanted {
                role,
                name,
                around: around.as_deref(),
            };
            new_server::run(&wanted, path.as_deref()).map(done)
        }
        Some(Command::Kill { server, asked }) => kill::run(server, asked).map(done),
        Some(Command::Swap {
            server,
            image,
            force,
            asked,
        }) => swap::run(server, image, *force, asked, &cli.common).map(done),
        Some(Command::Ping(which)) => ping::run(which).map(done),
        Some(Command::Completions { shell }) => completions::run(*shell).map(done),
        Some(Command::Leashed {
            parent,
            memory_mib,
            program,
            arguments,
        }) => leash::become_leashed(*parent, *memory_mib, program, arguments).map(done),
    }
}
