//! `atoll kill`: faults a server of a running machine.

use crate::cli::Asked;
use crate::control::{Line, orders};
use crate::error::Result;
use crate::shown::{document, print};

/// Faults it, and says whom.
pub(super) fn run(server: &str, asked: &Asked) -> Result<()> {
    let found = orders::kill(&mut Line::open(&asked.which.name)?, server)?;
    if asked.json {
        document(&found)
    } else {
        print(format_args!(
            "{}: faulted (role {}, slot {}); the supervisor restarts it\n",
            found.server, found.role, found.id
        ))
    }
}
