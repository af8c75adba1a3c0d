//! `atoll new-server`: a crate with a server of one's own.

use std::path::Path;

use crate::error::Result;
use crate::place;
use crate::template::{self, Wanted};

/// Makes it, and says what can be done with it.
pub(super) fn run(wanted: &Wanted<'_>, path: Option<&Path>) -> Result<()> {
    let Wanted { role, name, .. } = *wanted;
    let dir = template::make(
        &place::workspace()?,
        wanted,
        path.unwrap_or(Path::new(name)),
    )?;
    let dir = dir.display();
    crate::shown::print(format!(
        "{dir}: a server of the role {role}\n  test it:   cargo test --manifest-path {dir}/Cargo.toml\n  boot it:   atoll boot --swap {role}={dir}\n  swap it:   atoll swap {role} {dir}   (into a running machine)\n"
    ))
}
