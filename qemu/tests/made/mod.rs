//! Crates that `atoll new-server` makes, as a user would have it make them.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A crate.
pub(crate) struct Own {
    pub(crate) dir: PathBuf,
    _temporary: TempDir,
}

/// Makes a crate called `my-ROLE`, with these arguments beside role and name.
pub(crate) fn made(role: &str, arguments: &[&str]) -> Own {
    let temporary = tempfile::tempdir().unwrap();
    let (name, dir) = (format!("my-{role}"), temporary.path().join("made"));
    let made = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["new-server", role, &name, "--path"])
        .arg(&dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Own {
        dir,
        _temporary: temporary,
    }
}
