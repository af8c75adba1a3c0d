//! Files stay short: one says one thing.

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

/// Most lines of a file, blanks and comments included.
const LONGEST: usize = 600;
/// Measures every Rust file of the repository, new ones included.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let mut lengths = Vec::new();
    for (name, text) in git::files(&workspace.root, "*.rs")? {
        let lines = text.lines().count();
        if lines > LONGEST {
            findings.problem(format_args!(
                "{name}: {lines} lines are more than {LONGEST}"
            ));
        }
        if !text.trim_start().starts_with("//!") {
            findings.problem(format_args!(
                "{name}: no `//!` header that says what it is there for"
            ));
        }
        lengths.push(lines);
    }
    findings.figure(format_args!(
        "Rust files: {}, the longest of {} lines",
        lengths.len(),
        lengths.iter().max().unwrap_or(&0)
    ));
    Ok(())
}
