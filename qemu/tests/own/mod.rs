//! Crates that `atoll new-server` makes, as a user would have it make them.

use std::path::PathBuf;
use std::process::Command;

use atoll::place;
use tempfile::TempDir;

/// A crate that has passed its own tests.
pub(crate) struct Own {
    pub(crate) dir: PathBuf,
    _temporary: TempDir,
}

/// Makes a crate called `my-ROLE`, with these arguments beside role and name, and runs its tests.
pub(crate) fn make(role: &str, arguments: &[&str]) -> Own {
    let temporary = tempfile::tempdir().unwrap();
    let (name, dir) = (format!("my-{role}"), temporary.path().join("made"));
    let made = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["new-server", role, &name, "--path"])
        .arg(&dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let target = place::workspace().unwrap().join("target/own-tests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tested = Command::new(cargo)
        .args(["test", "--offline", "--lib"])
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "-Dwarnings")
        .current_dir(&dir)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    assert!(tested.status.success(), "{said}");
    assert!(said.contains("test result: ok") && !said.contains("running 0 tests"), "{said}");
    Own { dir, _temporary: temporary }
}
