//! Files stay short: one says one thing.

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

/// Most lines of a file, blanks and comments included.
const LONGEST: usize = 600;
/// Most lines of the file in the middle.
const MEDIAN: usize = 120;

/// Measures every Rust file of the repository, new ones included.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let mut lengths = Vec::new();
    for (name, text) in git::files(&workspace.root, "*.rs")? {
        let lines = text.lines().count();
        if lines > LONGEST {
            findings.problem(format_args!("{name}: {lines} lines are more than {LONGEST}"));
        }
        if !text.trim_start().starts_with("//!") {
            findings.problem(format_args!("{name}: no `//!` header that says what it is there for"));
        }
        lengths.push(lines);
    }
    lengths.sort_unstable();
    findings.figure(format_args!("Rust files: {}, the longest of {} lines", lengths.len(), lengths.last().unwrap_or(&0)));
    findings.at_most("lines of the median file", median(&lengths), MEDIAN);
    Ok(())
}

fn median(sorted: &[usize]) -> usize {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[1, 2, 900]), 2);
    }
}
