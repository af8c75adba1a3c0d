//! The servers of a running machine: as `atoll ps` and `atoll top` print them, and as JSON (docs/control.md tells the keys).

use std::fmt::Write as _;

use atoll_protocol::control::{Ask, MachineRecord, ServerRecord, Tell};
use serde::Serialize;

use super::{Line, tables};
use crate::error::Result;
use crate::shown;

/// A machine and its servers at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// The machine's name.
    pub machine: String,
    /// Nanoseconds of the machine's clock since the guest was entered first.
    pub elapsed_ns: u64,
    /// Exits of the guest so far.
    pub exits: u64,
    /// Whether the guest may run: not while a server is away.
    pub running: bool,
    /// The servers, by their slots.
    pub servers: Vec<Row>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its slot.
    pub id: u8,
    /// Its role.
    pub role: &'static str,
    /// Its name from the manifest.
    pub server: String,
    /// The image that is in its place now, by the name that it gives itself.
    pub image: String,
    /// How often its slot was started.
    pub generation: u32,
    /// `made`, `running`, `faulted`, `quarantined` or `held` (about to be swapped).
    pub state: &'static str,
    /// Messages that were delivered to it.
    pub activations: u64,
    /// How often it was restarted after a fault: not when it began, nor when another image took its place.
    pub restarts: u32,
    /// Time in its activations, by the machine's clock.
    pub time_ns: u64,
    /// Instructions in its activations: only a machine that counts time in instructions (`boot --icount`) knows them.
    pub instructions: Option<u64>,
}

/// Asks the machine; `instructions`: whether it counts time in them.
pub fn listing(line: &mut Line, instructions: bool) -> Result<Listing> {
    let machine = tables::machine(line)?;
    let mut servers = line.list(Ask::Servers, |tell| {
        let Tell::Server(record) = tell else {
            return None;
        };
        Some(row(record, &machine, instructions))
    })?;
    servers.sort_by_key(|row| row.id);
    Ok(Listing {
        machine: line.name.clone(),
        elapsed_ns: nanoseconds(machine.elapsed, &machine),
        exits: machine.exits,
        running: machine.running,
        servers,
    })
}

fn nanoseconds(ticks: u64, machine: &MachineRecord) -> u64 {
    let nanoseconds = u128::from(ticks) * 1_000_000 / u128::from(machine.tsc_khz.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

fn row(record: &ServerRecord<'_>, machine: &MachineRecord, instructions: bool) -> Row {
    let time_ns = nanoseconds(record.time.sum, machine);
    Row {
        id: record.id,
        role: record.role.name(),
        server: shown::name(record.name),
        image: shown::name(record.image),
        generation: record.generation,
        state: record.state.name(),
        activations: record.time.count,
        restarts: record.restarts,
        time_ns,
        instructions: instructions.then_some(time_ns),
    }
}

/// An image's name in a table.
pub(super) fn named(image: &str) -> &str {
    if image.is_empty() { "-" } else { image }
}

impl Listing {
    /// How wide the columns of the servers' and their images' names are: a terminal has no room to give away.
    pub(super) fn widths(&self) -> [usize; 2] {
        let widest = |name: fn(&Row) -> &str| {
            self.servers
                .iter()
                .map(|row| name(row).chars().count())
                .fold(6, usize::max)
        };
        [widest(|row| &row.server), widest(|row| &row.image)]
    }

    /// A table, one line per server.
    #[must_use]
    pub fn table(&self) -> String {
        let [server, image] = self.widths();
        let mut table = format!(
            "{:>2} {:<10} {:<server$} {:<image$} {:>4} {:<11} {:>12} {:>8} {:>14} {:>11}\n",
            "id",
            "role",
            "server",
            "image",
            "gen",
            "state",
            "activations",
            "restarts",
            "instructions",
            "time ms"
        );
        for row in &self.servers {
            let instructions = row
                .instructions
                .map_or_else(|| "-".into(), |count| count.to_string());
            let _ = writeln!(
                table,
                "{:>2} {:<10} {:<server$} {:<image$} {:>4} {:<11} {:>12} {:>8} {instructions:>14} {:>11.1}",
                row.id,
                row.role,
                row.server,
                named(&row.image),
                row.generation,
                row.state,
                row.activations,
                row.restarts,
                row.time_ns as f64 / 1e6
            );
        }
        table
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use atoll_protocol::control::{Moments, State};
    use atoll_protocol::role::RoleKind;

    use super::*;

    /// A machine that has run for a second, with a 2 GHz counter.
    pub(crate) fn machine() -> MachineRecord {
        MachineRecord {
            tsc_khz: 2_000_000,
            elapsed: 2_000_000_000,
            exits: 10,
            running: true,
            ..MachineRecord::default()
        }
    }

    pub(crate) fn record(id: u8, name: &str, count: u64, sum: u64) -> ServerRecord<'_> {
        let time = Moments {
            count,
            sum,
            ..Moments::default()
        };
        let (role, state) = (RoleKind::Serial, State::Running);
        ServerRecord {
            id,
            name,
            image: "uart-ring",
            role,
            state,
            generation: 6,
            restarts: 2,
            time,
        }
    }

    #[test]
    fn instructions_are_told_only_where_the_machine_counts_them() {
        let server = record(9, "uart", 7, 3000);
        let counted = row(&server, &machine(), true);
        assert_eq!(
            (counted.time_ns, counted.instructions, counted.restarts),
            (1500, Some(1500), 2)
        );
        assert_eq!(row(&server, &machine(), false).instructions, None);
        let json = serde_json::to_value(row(&server, &machine(), false)).unwrap();
        assert_eq!(json["instructions"], serde_json::Value::Null);
    }

    #[test]
    fn a_name_that_the_machine_tells_cannot_write_to_the_terminal() {
        let row = row(
            &ServerRecord {
                image: "\x1b[2J",
                ..record(9, "uart\nforged", 7, 3000)
            },
            &machine(),
            true,
        );
        assert_eq!(
            (&row.server[..], &row.image[..]),
            ("uart\\nforged", "\\x1b[2J")
        );
    }

    #[test]
    fn restarts_are_those_that_the_kernel_counts_whatever_the_generation_is() {
        let row = row(&record(9, "uart", 7, 3000), &machine(), true);
        assert_eq!((row.generation, row.restarts), (6, 2));
        assert_eq!((&row.server[..], &row.image[..]), ("uart", "uart-ring"));
    }

    #[test]
    fn the_table_has_a_line_for_each_server_with_what_was_asked_for() {
        let silent = ServerRecord {
            image: "",
            ..record(10, "disk", 7, 3000)
        };
        let servers = vec![
            row(&record(9, "uart", 7, 3000), &machine(), true),
            row(&silent, &machine(), true),
        ];
        let listing = Listing {
            machine: "test".into(),
            elapsed_ns: 1,
            exits: 10,
            running: true,
            servers,
        };
        let table = listing.table();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[0][..9],
            [
                "id",
                "role",
                "server",
                "image",
                "gen",
                "state",
                "activations",
                "restarts",
                "instructions"
            ]
        );
        assert_eq!(
            rows[1],
            [
                "9",
                "serial",
                "uart",
                "uart-ring",
                "6",
                "running",
                "7",
                "2",
                "1500",
                "0.0"
            ]
        );
        assert_eq!(rows[2][..5], ["10", "serial", "disk", "-", "6"]);
        assert!(
            table
                .lines()
                .all(|line| line.chars().count() == table.lines().next().unwrap().len()),
            "{table}"
        );
    }
}
