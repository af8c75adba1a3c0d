//! A commit's first line says what it does, and is short enough to be read in a list.

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

/// Most characters of a first line.
const LONGEST: usize = 72;

/// Looks at the commits of this work.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let Some(base) = git::base(&workspace.root)? else {
        return Ok(());
    };
    let range = format!("{base}..HEAD");
    let subjects = git::ask(
        &workspace.root,
        &["log", "--no-merges", "--format=%s", &range],
    )?;
    let subjects = subjects.unwrap_or_default();
    for subject in too_long(&subjects) {
        findings.problem(format_args!(
            "the first line of a commit is longer than {LONGEST} characters: {subject}"
        ));
    }
    findings.figure(format_args!(
        "commits of this work: {}",
        subjects.lines().count()
    ));
    Ok(())
}

fn too_long(subjects: &str) -> impl Iterator<Item = &str> {
    subjects
        .lines()
        .filter(|subject| subject.chars().count() > LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_may_have_seventy_two_characters() {
        let (short, long) = ("é".repeat(72), "é".repeat(73));
        let subjects = format!("{short}\n{long}\n");
        let found: Vec<_> = too_long(&subjects).collect();
        assert_eq!(found, [long]);
    }
}
