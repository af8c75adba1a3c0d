//! The program `atoll`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use atoll::cli::Cli;
use atoll::error::Error;
use atoll::shown::{complain, complain_as_document};
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return match error.print() {
                Ok(()) if !error.use_stderr() => ExitCode::SUCCESS,
                Err(printing) if !error.use_stderr() => {
                    complain(format_args!("atoll: error: standard output: {printing}"));
                    ExitCode::from(125)
                }
                _ => ExitCode::from(125),
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
        Err(error) if cli.wants_json() => {
            complain_as_document(&error);
            error.exit_code()
        }
        Err(error) => {
            complain(format_args!("atoll: error: {error}"));
            error.exit_code()
        }
    }
}
