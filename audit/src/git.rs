//! Questions to git.

use std::path::Path;
use std::process::Command;

use crate::Error;

/// Every file of the repository whose name fits `pattern`, new ones included, and what is in it.
pub(crate) fn files(root: &Path, pattern: &str) -> Result<Vec<(String, String)>, Error> {
    let listed = ask(
        root,
        &[
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            pattern,
        ],
    )?;
    let listed = listed.ok_or_else(|| Error::Program {
        program: "git ls-files",
        why: "it failed".to_owned(),
    })?;
    // A file that was deleted and not committed is still listed.
    let read = |name: &str| {
        Some((
            name.to_owned(),
            std::fs::read_to_string(root.join(name)).ok()?,
        ))
    };
    Ok(listed.lines().filter_map(read).collect())
}

/// What git prints; `None` if it refuses (there is no such commit, or no such file in it).
pub(crate) fn ask(directory: &Path, arguments: &[&str]) -> Result<Option<String>, Error> {
    let printed = bytes(directory, arguments)?;
    Ok(printed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The same, where what it prints is no text.
pub(crate) fn bytes(directory: &Path, arguments: &[&str]) -> Result<Option<Vec<u8>>, Error> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        // The clone may belong to another user than the one that checks it.
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .output()
        .map_err(|error| Error::Program {
            program: "git",
            why: error.to_string(),
        })?;
    Ok(output.status.success().then_some(output.stdout))
}

/// Where this work started: where it left the main branch, or, on that branch, the commit before.
pub(crate) fn base(root: &Path) -> Result<Option<String>, Error> {
    let commit = |arguments: &[&str]| Ok(ask(root, arguments)?.map(|id| id.trim().to_owned()));
    let head = commit(&["rev-parse", "--verify", "--quiet", "HEAD"])?;
    for branch in ["origin/HEAD", "origin/main", "main"] {
        if let Some(shared) = commit(&["merge-base", "HEAD", branch])? {
            return if Some(&shared) == head.as_ref() {
                commit(&["rev-parse", "--verify", "--quiet", "HEAD^"])
            } else {
                Ok(Some(shared))
            };
        }
    }
    commit(&["rev-parse", "--verify", "--quiet", "HEAD^"])
}
