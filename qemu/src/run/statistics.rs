//! What a machine has to tell of itself: over its control line while it runs, and in its kernel's log when it was left, where nobody is
//! there any more who could ask. So nobody need ask all along, which would be in the figures.

use std::fmt::Write as _;

use atoll_protocol::control::{Ask, ExitRecord, MachineRecord, Moments, ServerRecord, Tell};

use super::log;
use crate::control::{Line, tables};
use crate::error::Result;
use crate::shown;

/// Exits, servers, and the machine as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// The machine.
    pub machine: MachineRecord,
    exits: Vec<(String, Moments)>,
    servers: Vec<Server>,
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
struct Server {
    id: u8,
    /// Name, image, role, state, generation, restarts.
    columns: String,
    time: Moments,
}

impl Totals {
    /// Asks a running machine.
    pub fn ask(line: &mut Line) -> Result<Self> {
        let mut totals = Self::default();
        line.list(Ask::Exits, |tell| match tell {
            Tell::Exit(record) => {
                totals.exit(record);
                Some(())
            }
            _ => None,
        })?;
        line.list(Ask::Servers, |tell| match tell {
            Tell::Server(record) => {
                totals.server(record);
                Some(())
            }
            _ => None,
        })?;
        totals.machine = tables::machine(line)?;
        Ok(totals)
    }

    /// Finds what the kernel has told last when it was left; `None` if it did not come to that.
    #[must_use]
    pub fn in_log(log: &str) -> Option<Self> {
        let (mut totals, mut told) = (Self::default(), false);
        for (what, bytes) in log::totals(log) {
            match what {
                "exit" => totals.exit(&postcard::from_bytes(&bytes).ok()?),
                "server" => totals.server(&postcard::from_bytes(&bytes).ok()?),
                "machine" => {
                    totals.machine = postcard::from_bytes(&bytes).ok()?;
                    told = true;
                }
                // Of the server before it.
                "dump" => {}
                _ => return None,
            }
        }
        told.then_some(totals)
    }

    fn exit(&mut self, record: &ExitRecord<'_>) {
        if record.time.count > 0 {
            self.exits.push((shown::name(record.name), record.time));
        }
    }

    fn server(&mut self, record: &ServerRecord<'_>) {
        self.servers.push(Server {
            id: record.id,
            columns: tables::server_columns(record),
            time: record.time,
        });
    }

    /// Tables for people.
    #[must_use]
    pub fn text(&self) -> String {
        let machine = &self.machine;
        // Servers have worked before the guest was entered first.
        let busy: u64 = self.servers.iter().map(|server| server.time.sum).sum();
        let whole = machine.elapsed.max(busy);
        let mut text = format!("{:<24} {}\n", "exit", tables::columns());
        for (name, time) in &self.exits {
            let _ = writeln!(text, "{name:<24} {}", tables::cells(time, machine, whole));
        }
        let _ = writeln!(
            text,
            "{} exits; {} stray ports, {} stray addresses",
            machine.exits, machine.stray_ports, machine.stray_memory
        );
        let _ = writeln!(text, "\n{} {}", tables::server_titles(), tables::columns());
        for server in &self.servers {
            let _ = writeln!(
                text,
                "{:>2} {} {}",
                server.id,
                server.columns,
                tables::cells(&server.time, machine, whole)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use atoll_protocol::control::Moments;

    use super::*;
    use crate::control::listing::tests::{machine, record};

    fn line(what: &str, record: &impl serde::Serialize) -> String {
        let bytes = postcard::to_stdvec(record).unwrap();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[1.000000] total: {what} {digits}\n")
    }

    #[test]
    fn what_the_kernel_tells_when_it_is_left_becomes_the_same_tables() {
        let time = Moments {
            count: 2,
            min: 100,
            max: 400,
            sum: 500,
            squares: 0,
        };
        let exit = ExitRecord {
            index: 1,
            name: "cpuid",
            time,
        };
        let log = [
            "[0.5] cpuid: total: exit 00\n".to_owned(),
            line("exit", &exit),
            line("server", &record(9, "uart", 7, 3000)),
            line("machine", &machine()),
        ]
        .concat();
        let text = Totals::in_log(&log).unwrap().text();
        for word in ["cpuid", "uart", "uart-ring", "10 exits"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_log_that_ends_early_or_makes_no_sense_tells_nothing() {
        let whole = line("machine", &machine());
        for length in 0..whole.len() - 1 {
            assert_eq!(Totals::in_log(&whole[..length]), None, "{length}");
        }
        assert_eq!(Totals::in_log("[1] total: exit zz\n"), None);
        assert_eq!(Totals::in_log("[1] total: \u{fc}\u{fc}\n"), None);
    }

    #[test]
    fn no_share_is_more_than_all() {
        let busy = record(9, "control", 7, machine().elapsed * 2);
        let mut totals = Totals {
            machine: machine(),
            ..Totals::default()
        };
        totals.server(&busy);
        assert!(totals.text().contains(" 100.0%"), "{}", totals.text());
    }
}
