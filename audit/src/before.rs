//! The tree as it was one commit ago, unpacked beside this one, so that the same code can measure it.

use std::path::Path;

use tempfile::TempDir;

use crate::Error;
use crate::git;
use crate::workspace::Workspace;

/// An earlier commit's files.
#[derive(Debug)]
pub(crate) struct Before {
    /// The commit.
    pub(crate) commit: String,
    directory: TempDir,
}

impl Before {
    /// The last commit where something is not committed yet, else the one before it; `None` if there is none (in a shallow clone, or at the
    /// very first).
    pub(crate) fn of(workspace: &Workspace) -> Result<Option<Self>, Error> {
        let root = &workspace.root;
        let Some(changes) = git::ask(root, &["status", "--porcelain"])? else {
            return Ok(None);
        };
        let commit = if changes.trim().is_empty() {
            "HEAD^"
        } else {
            "HEAD"
        };
        let Some(commit) = git::ask(root, &["rev-parse", "--verify", "--quiet", commit])? else {
            return Ok(None);
        };
        Self::unpack(root, commit.trim()).map(Some)
    }

    fn unpack(root: &Path, commit: &str) -> Result<Self, Error> {
        let failed = |why: String| Error::Program {
            program: "git archive",
            why,
        };
        let archive = git::bytes(root, &["archive", "--format=tar", commit])?
            .ok_or_else(|| failed(format!("it has no files of {commit}")))?;
        let directory = TempDir::new().map_err(|error| failed(error.to_string()))?;
        tar::Archive::new(&archive[..])
            .unpack(directory.path())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            commit: commit.to_owned(),
            directory,
        })
    }

    /// The workspace that it was.
    pub(crate) fn workspace(&self) -> Result<Workspace, Error> {
        Workspace::at(self.directory.path())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn read(before: &Before) -> String {
        std::fs::read_to_string(before.directory.path().join("file")).unwrap()
    }

    #[test]
    fn the_commit_before_is_the_last_one_while_something_is_uncommitted() {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        let workspace = Workspace {
            packages: Vec::new(),
            root: root.to_owned(),
            default_members: Vec::new(),
        };
        run(root, &["init", "--quiet"]);
        let mut seen = Vec::new();
        for text in ["first", "second"] {
            std::fs::write(root.join("file"), text).unwrap();
            seen.extend(Before::of(&workspace).unwrap());
            run(root, &["add", "file"]);
            run(root, &["commit", "--quiet", "-m", text]);
            seen.extend(Before::of(&workspace).unwrap());
        }
        let texts: Vec<_> = seen.iter().map(read).collect();
        // Before `second` was committed, and after.
        assert_eq!(texts, ["first", "first"]);
    }
}
