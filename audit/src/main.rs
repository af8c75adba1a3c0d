//! Measures the source against the bars that the project sets itself, prints the figures, and fails where one is not kept.
//!
//! - [`kernel`]: the trusted computing base stays small, and every unsafe block in it says why it is sound.
//! - [`unsafety`]: everything else is free of unsafe code, by `forbid`.
//! - [`files`]: files stay short.
//! - [`links`]: what documents refer to is there.
//! - [`members`]: plain `cargo test` forgets no crate.
//! - [`schema`]: the protocol does not change unnoticed.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::findings::Findings;
use crate::workspace::Workspace;

mod count;
mod files;
mod findings;
mod git;
mod kernel;
mod links;
mod members;
mod modules;
mod schema;
mod unsafety;
mod workspace;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A program that is needed did not run, or failed.
    #[error("{program}: {why}")]
    Program { program: &'static str, why: String },
    /// A file cannot be read.
    #[error("{path}: {why}")]
    File {
        path: std::path::PathBuf,
        why: String,
    },
}

fn main() -> ExitCode {
    match audit() {
        Ok(findings) => findings.report(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn audit() -> Result<Findings, Error> {
    let workspace = Workspace::of_this_crate()?;
    let mut findings = Findings::default();
    kernel::check(&workspace, &mut findings)?;
    unsafety::check(&workspace, &mut findings)?;
    files::check(&workspace, &mut findings)?;
    links::check(&workspace, &mut findings)?;
    members::check(&workspace, &mut findings);
    schema::check(&workspace, &mut findings)?;
    Ok(findings)
}
