//! Orders to a running machine's supervisor.

use atoll_protocol::control::{Ask, ServerRecord, Tell};
use atoll_protocol::order::{Order, Outcome};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, Ticks};

use serde::Serialize;

use super::Line;
use crate::error::{Error, Result};
use crate::run::instance::log_of;
use crate::run::log;
use crate::shown;

/// A server of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its slot.
    pub id: ServerId,
    /// Its name from the manifest.
    pub server: String,
    /// Its role.
    pub role: &'static str,
}

/// The server with this name, or else the first with this role.
pub fn find(line: &mut Line, server: &str) -> Result<Found> {
    let all = line.list(Ask::Servers, |tell| {
        let Tell::Server(record) = tell else {
            return None;
        };
        Found::of(record)
    })?;
    among(&all, server)
}

impl Found {
    /// Who a record is about; nobody if it has a number that no server has: whoever answers may say anything.
    #[must_use]
    pub fn of(record: &ServerRecord<'_>) -> Option<Self> {
        Some(Self {
            id: ServerId::new(record.id)?,
            server: shown::name(record.name),
            role: record.role.name(),
        })
    }
}

/// The one of these with this name, or else the first with this role.
pub(super) fn among(all: &[Found], server: &str) -> Result<Found> {
    let named = all
        .iter()
        .find(|found| found.server == server)
        .or_else(|| all.iter().find(|found| found.role == server));
    named.cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|found| found.server.as_str()).collect();
        Error::missing(format!(
            "there is no server or role '{server}' in this machine; there are: {}",
            names.join(", ")
        ))
    })
}

/// Faults a server, and says which it was.
pub fn kill(line: &mut Line, server: &str) -> Result<Found> {
    let found = find(line, server)?;
    line.ask(Ask::Order(Order::Kill(found.id)))?;
    match outcome(line)? {
        Outcome::Done => Ok(found),
        other => Err(refusal(line, server, other)),
    }
}

/// Puts the server of an image in the bundle into a server's place; with `force` also if that takes something away from the guest. For how
/// many ticks the guest was held, at most.
pub fn swap(line: &mut Line, server: &str, image: &str, force: bool) -> Result<Ticks> {
    swap_for(line, server, Some(image), force)
}

/// The same with the image that was uploaded.
pub fn swap_uploaded(line: &mut Line, server: &str, force: bool) -> Result<Ticks> {
    swap_for(line, server, None, force)
}

fn swap_for(line: &mut Line, server: &str, image: Option<&str>, force: bool) -> Result<Ticks> {
    let id = find(line, server)?.id;
    line.ask(Ask::Order(Order::Swap(id, force, image)))?;
    match outcome(line)? {
        Outcome::Swapped(held) => Ok(Ticks(held)),
        other => Err(refusal(line, server, other)),
    }
}

/// What came of an order.
pub fn outcome(line: &mut Line) -> Result<Outcome> {
    line.answer(|tell| {
        if let Tell::Outcome(outcome) = tell {
            Some(*outcome)
        } else {
            None
        }
    })
}

fn refusal(line: &Line, server: &str, outcome: Outcome) -> Error {
    match outcome {
        Outcome::NoSuchServer if server == RoleKind::Supervisor.name() => {
            Error::missing("the supervisor cannot be swapped: it is what swaps")
        }
        Outcome::NoSuchServer => Error::missing(format_args!("there is no server '{server}' in this machine")),
        Outcome::NotNow => line.refused(format_args!("'{server}' is down, or being swapped")),
        Outcome::NoSuchImage => Error::missing(
            "there is no such image in this machine's bundle: it has those that its servers use (`atoll ps`) and those that its manifest lists as `spares`; a crate's directory is written with a '/', as in ./my-server",
        ),
        Outcome::WrongImage => line.refused(format_args!("the image is not of the role of '{server}'")),
        Outcome::NoCommonVersion => line.refused(format_args!("the state of '{server}' cannot be moved to that server")),
        Outcome::RolledBack => {
            let log = log_of(&line.name).and_then(|path| log::text(&path)).unwrap_or_default();
            match why(&log) {
                Some(why) if why.starts_with(TAKES_AWAY) => {
                    line.refused(format_args!("{why}, and the successor does not have that; --force puts it in nevertheless"))
                }
                Some(why) => line.refused(format_args!("the successor refuses ({why}); everything is as it was")),
                None => line.refused(
                    "the successor failed, or was not ready in its time, which a busy host takes away from it: everything is as it was, and it can be tried again; `atoll log` says how it failed",
                ),
            }
        }
        Outcome::Broken | Outcome::NoRoom => line.refused("the image did not arrive as it was sent; nothing has changed"),
        Outcome::BadImage => line.refused("what was sent is no image of a server; nothing has changed"),
        Outcome::NoMemory(needed, free) => line.refused(format_args!(
            "the image takes {needed} KiB of memory in the place of '{server}', and {free} KiB are free for it; nothing has changed"
        )),
        Outcome::NoAnswer => line.refused("the supervisor failed over the order, which is dropped; the log says how"),
        Outcome::Done | Outcome::Swapped(_) | Outcome::NotUnderstood => line.refused("its supervisor takes no orders"),
    }
}

/// How the reason begins that does not count if a swap is forced (the SDK's `Refuse::TakesAway`).
const TAKES_AWAY: &str = "the guest relies on ";

/// What the last successor that was called off had against it, if it has said that itself.
fn why(log: &str) -> Option<&str> {
    let (before, _) = log.rsplit_once("supervisor: a succession has failed")?;
    let its = before
        .rsplit_once("supervisor: ")
        .map_or(before, |(_, its)| its);
    let (_, reason) = its.rsplit_once("cannot start: ")?;
    reason.split(" (").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successors_own_reason_is_found_in_the_log_and_no_other_ones() {
        let first = "[1] supervisor: machine runs\n[2] server 31 panicked: cannot start: it is too late (a.rs:1)\n";
        let failed = "[3] supervisor: a succession has failed and is rolled back\n";
        assert_eq!(why(&format!("{first}{failed}")), Some("it is too late"));
        assert_eq!(
            why(&format!(
                "{first}{failed}[4] fault: server 31 broke a rule\n{failed}"
            )),
            None
        );
        assert_eq!(why(first), None);
    }
}
