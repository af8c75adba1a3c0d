//! Questions to git.

use std::path::Path;
use std::process::Command;

use crate::Error;

/// What git prints; `None` if it refuses (there is no such commit, or no such file in it).
pub(crate) fn ask(directory: &Path, arguments: &[&str]) -> Result<Option<String>, Error> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        // The clone may belong to another user than the one that checks it.
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .output()
        .map_err(|error| Error::Program { program: "git", why: error.to_string() })?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}
