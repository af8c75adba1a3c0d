//! Orders to a running machine's supervisor.

use atoll_protocol::control::{Ask, Tell};
use atoll_protocol::order::Outcome;

use serde::Serialize;

use super::Line;
use crate::error::{Error, Result};

/// A server of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its slot.
    pub id: u8,
    /// Its name from the manifest.
    pub server: String,
    /// Its role.
    pub role: &'static str,
}

/// The server with this name, or else the first with this role.
pub fn find(line: &mut Line, server: &str) -> Result<Found> {
    let all = line.list(Ask::Servers, |tell| {
        let Tell::Server(record) = tell else { return None };
        Some(Found { id: record.id, server: record.name.to_owned(), role: record.role.name() })
    })?;
    let named = all.iter().find(|found| found.server == server).or_else(|| all.iter().find(|found| found.role == server));
    named.cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|found| found.server.as_str()).collect();
        Error::missing(format!("a server or role '{server}' in this machine (there are: {})", names.join(", ")))
    })
}

/// Faults a server, and says which it was.
pub fn kill(line: &mut Line, server: &str) -> Result<Found> {
    let found = find(line, server)?;
    line.ask(Ask::Kill(found.id))?;
    finish(line, server).map(|()| found)
}

/// Puts the server of another image into a server's place; with `force` also if that takes something away from the guest.
pub fn swap(line: &mut Line, server: &str, image: &str, force: bool) -> Result<()> {
    let id = find(line, server)?.id;
    line.ask(Ask::Swap(id, force, image))?;
    finish(line, server)
}

fn finish(line: &mut Line, server: &str) -> Result<()> {
    let outcome = line.answer(|tell| if let Tell::Outcome(outcome) = tell { Some(*outcome) } else { None })?;
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::NoSuchServer => Err(Error::missing(format!("a server '{server}' in this machine"))),
        Outcome::NotNow => Err(line.refused(format_args!("'{server}' is down, or being swapped"))),
        Outcome::NoSuchImage => {
            Err(Error::missing("such an image in this machine's bundle (its manifest lists them as `spares`)"))
        }
        Outcome::WrongImage => Err(line.refused(format_args!("the image is not of the role of '{server}'"))),
        Outcome::NoCommonVersion => Err(line.refused(format_args!("the state of '{server}' cannot be moved to that server"))),
        Outcome::RolledBack => Err(line.refused("the successor failed or refused, everything is as it was (its log says why)")),
        Outcome::NotUnderstood | Outcome::NoAnswer => Err(line.refused("its supervisor takes no orders")),
    }
}
