//! Crates that `atoll new-server` makes, tested as their authors would.

use std::process::Command;

use atoll::place;

use crate::made::{Own, made};

/// Makes a crate called `my-ROLE`, with these arguments beside role and name, and runs its tests.
pub(crate) fn make(role: &str, arguments: &[&str]) -> Own {
    let own = made(role, arguments);
    let target = place::workspace().unwrap().join("target/own-tests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tested = Command::new(cargo)
        .args(["test", "--offline", "--lib"])
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "-Dwarnings")
        .current_dir(&own.dir)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr)
    );
    assert!(tested.status.success(), "{said}");
    assert!(
        said.contains("test result: ok") && !said.contains("running 0 tests"),
        "{said}"
    );
    own
}
