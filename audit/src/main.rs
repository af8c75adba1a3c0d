//! Measures the source against the bars that the project sets itself, prints the figures, and fails where one is not kept.
//!
//! - [`kernel`]: the trusted computing base stays small, and every unsafe block in it says why it is sound; beside it, the commit before.
//! - [`linked`]: what the kernel is linked from, the protocol included.
//! - [`circles`]: neither the kernel's files nor the packages need one another in a circle.
//! - [`spread`]: a type's methods stand together, and traits are short.
//! - [`ids`]: no look-up by an id misses silently.
//! - [`unsafety`]: everything else is free of unsafe code, by `forbid`.
//! - [`files`]: files stay short.
//! - [`links`]: what documents refer to is there.
//! - [`members`]: plain `cargo test` forgets no crate.
//! - [`dependencies`]: what others wrote has a license that `deny.toml` allows.
//! - [`schema`]: the protocol does not change unnoticed.
//! - [`commits`]: a first line is short.
//!
//! A bar that the tree does not keep yet stands at what it has; whoever makes it better lowers the bar. With `--places` each place is printed of
//! what is counted.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::findings::Findings;
use crate::workspace::Workspace;

mod before;
mod circles;
mod commits;
mod count;
mod dependencies;
mod files;
mod findings;
mod git;
mod ids;
mod kernel;
mod linked;
mod links;
mod members;
mod modules;
mod names;
mod schema;
mod spread;
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
    let mut findings = Findings::new(std::env::args().any(|argument| argument == "--places"));
    let kernel = workspace.kernel()?;
    kernel::check(&workspace, &kernel, &mut findings)?;
    linked::check(&workspace, &mut findings)?;
    circles::check(&workspace, &kernel, &mut findings);
    spread::check(&kernel, &mut findings);
    ids::check(&workspace, &kernel, &mut findings);
    unsafety::check(&workspace, &mut findings)?;
    files::check(&workspace, &mut findings)?;
    links::check(&workspace, &mut findings)?;
    members::check(&workspace, &mut findings);
    dependencies::check(&workspace, &mut findings)?;
    commits::check(&workspace, &mut findings)?;
    schema::check(&workspace, &mut findings)?;
    Ok(findings)
}
