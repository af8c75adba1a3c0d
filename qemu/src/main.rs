//! The program `atoll`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use atoll::cli::Cli;
use atoll::error::Error;
use atoll::shown::Lines;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(125)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    cli.start_log();
    match atoll::command::run(&cli) {
        Ok(code) => code,
        Err(Error::Signal { signal }) => {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            ExitCode::from(125)
        }
        Err(error) => {
            eprintln!("atoll: error: {}", Lines(&error.to_string()));
            error.exit_code()
        }
    }
}
