//! `atoll new-server`: a crate with a server of one's own.

use std::path::Path;

use crate::error::Result;
use crate::{place, template};

/// Makes it, and says what can be done with it.
pub(super) fn run(role: &str, name: &str, path: Option<&Path>) -> Result<()> {
    let dir = template::make(&place::workspace()?, role, name, path.unwrap_or(Path::new(name)))?;
    let dir = dir.display();
    super::print(&format!(
        "{dir}: a server of the role {role}\n  test it:   cargo test --manifest-path {dir}/Cargo.toml\n  boot it:   atoll boot --swap {role}={dir}\n  swap it:   atoll swap {role} {dir}   (into a running machine)\n"
    ))
}
