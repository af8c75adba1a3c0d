//! `protocol/schema.lock` does not change without a new version of the protocol and a word about it in `protocol/CHANGELOG.md`.
//!
//! That the lock describes the types is a test of the protocol's own.

use crate::Error;
use crate::findings::Findings;
use crate::git;
use crate::workspace::Workspace;

const LOCK: &str = "protocol/schema.lock";
const CHANGELOG: &str = "protocol/CHANGELOG.md";

/// Compares the lock with the one of the commit that this work started from.
pub(crate) fn check(workspace: &Workspace, findings: &mut Findings) -> Result<(), Error> {
    let read = |name: &str| {
        let path = workspace.root.join(name);
        std::fs::read_to_string(&path).map_err(|error| Error::File {
            path,
            why: error.to_string(),
        })
    };
    let lock = read(LOCK)?;
    let base = git::base(&workspace.root)?;
    let old = match &base {
        Some(commit) => git::ask(&workspace.root, &["show", &format!("{commit}:{LOCK}")])?,
        None => None,
    };
    match base {
        Some(commit) => findings.figure(format_args!(
            "protocol: version {}, compared with {commit:.12}",
            version(&lock).unwrap_or(0)
        )),
        None => findings.figure("protocol: no earlier commit to compare the schema with"),
    }
    if let Err(why) = judge(old.as_deref(), &lock, &read(CHANGELOG)?) {
        findings.problem(why);
    }
    Ok(())
}

fn judge(old: Option<&str>, new: &str, changelog: &str) -> Result<(), String> {
    let current =
        version(new).ok_or_else(|| format!("{LOCK}: its first line is not `version N`"))?;
    if let Some(old) = old.filter(|old| *old != new)
        && let Some(before) = version(old)
        && before >= current
    {
        return Err(format!(
            "{LOCK} has changed, but protocol::VERSION is still {current}: raise it"
        ));
    }
    if entry(changelog, current) {
        Ok(())
    } else {
        Err(format!(
            "{CHANGELOG} has no `## {current}` with a line about what is new"
        ))
    }
}

fn version(lock: &str) -> Option<u32> {
    lock.lines().next()?.strip_prefix("version ")?.parse().ok()
}

/// Whether something is said about a version.
fn entry(changelog: &str, version: u32) -> bool {
    let heading = format!("## {version}");
    let mut lines = changelog
        .lines()
        .skip_while(|line| line.trim() != heading)
        .skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.starts_with("## "))
        .any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: &str = "# Changes\n\n## 2\n\n- More.\n\n## 1\n\n- Everything.\n";

    #[test]
    fn the_same_lock_needs_nothing() {
        assert_eq!(
            judge(Some("version 1\na\n"), "version 1\na\n", CHANGES),
            Ok(())
        );
    }

    #[test]
    fn a_first_lock_needs_a_word_about_it() {
        assert_eq!(judge(None, "version 1\na\n", CHANGES), Ok(()));
        assert!(
            judge(None, "version 1\na\n", "# Changes\n")
                .unwrap_err()
                .contains("## 1")
        );
    }

    #[test]
    fn another_lock_needs_another_version() {
        assert!(
            judge(Some("version 1\na\n"), "version 1\nb\n", CHANGES)
                .unwrap_err()
                .contains("raise it")
        );
        assert!(
            judge(Some("version 2\na\n"), "version 1\nb\n", CHANGES)
                .unwrap_err()
                .contains("raise it")
        );
        assert_eq!(
            judge(Some("version 1\na\n"), "version 2\nb\n", CHANGES),
            Ok(())
        );
    }

    #[test]
    fn another_version_needs_a_word_about_it() {
        assert!(
            judge(Some("version 2\na\n"), "version 3\nb\n", CHANGES)
                .unwrap_err()
                .contains("## 3")
        );
        assert!(
            judge(
                Some("version 2\na\n"),
                "version 3\nb\n",
                "## 3\n\n## 2\n\n- More.\n"
            )
            .is_err(),
            "a heading alone says nothing"
        );
    }
}
