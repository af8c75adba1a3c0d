//! One frame of `atoll top`: what the servers did since the frame before, in an order of choice, cut to the terminal's size.

use std::cmp::Reverse;
use std::fmt::Write as _;

use super::listing::{Listing, Row, named};

/// What the lines are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Time since the frame before.
    Busy,
    /// Activations since the frame before.
    Activations,
    /// Restarts since the machine started.
    Restarts,
    /// Slot.
    Slot,
}

impl Order {
    /// What a key chooses.
    #[must_use]
    pub fn of_key(key: u8) -> Option<Self> {
        match key {
            b't' => Some(Self::Busy),
            b'a' => Some(Self::Activations),
            b'r' => Some(Self::Restarts),
            b'n' => Some(Self::Slot),
            _ => None,
        }
    }
}

/// A frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'f> {
    /// What there is now.
    pub now: &'f Listing,
    /// What there was at the frame before; without it, everything since the machine started is shown.
    pub before: Option<&'f Listing>,
    /// What the lines are ordered by.
    pub order: Order,
}

impl Frame<'_> {
    /// The servers with their time and activations since the frame before.
    fn rows(&self) -> Vec<(&Row, u64, u64)> {
        let past = |row: &Row| {
            self.before
                .and_then(|before| before.servers.iter().find(|old| old.id == row.id))
        };
        let mut rows: Vec<_> = self
            .now
            .servers
            .iter()
            .map(|row| {
                let (time, count) = past(row).map_or((0, 0), |old| (old.time_ns, old.activations));
                (
                    row,
                    row.time_ns.saturating_sub(time),
                    row.activations.saturating_sub(count),
                )
            })
            .collect();
        match self.order {
            Order::Busy => rows.sort_by_key(|(_, time, _)| Reverse(*time)),
            Order::Activations => rows.sort_by_key(|(.., count)| Reverse(*count)),
            Order::Restarts => rows.sort_by_key(|(row, ..)| Reverse(row.restarts)),
            Order::Slot => rows.sort_by_key(|(row, ..)| row.id),
        }
        rows
    }

    /// The frame's lines, cut to `size` (columns, rows) where there is one.
    #[must_use]
    pub fn text(&self, size: Option<(usize, usize)>) -> String {
        let (elapsed, exits) = self
            .before
            .map_or((0, 0), |before| (before.elapsed_ns, before.exits));
        let span = self.now.elapsed_ns.saturating_sub(elapsed).max(1) as f64;
        let per_second = |count: u64| count as f64 * 1e9 / span;
        let guest = if self.now.running {
            "running"
        } else {
            "waiting for a server"
        };
        let mut text = format!(
            "{}: {:.1} s, guest {guest}, {} exits, {:.0}/s\n",
            self.now.machine,
            self.now.elapsed_ns as f64 / 1e9,
            self.now.exits,
            per_second(self.now.exits.saturating_sub(exits))
        );
        if size.is_some() {
            text += "q: quit  order by t: time  a: activations  r: restarts  n: slot\n";
        }
        let [server, image] = self.now.widths();
        let _ = writeln!(
            text,
            "{:>2} {:<10} {:<server$} {:<image$} {:<11} {:>4} {:>8} {:>8} {:>7} {:>6}",
            "id",
            "role",
            "server",
            "image",
            "state",
            "gen",
            "restarts",
            "activ./s",
            "ns each",
            "time"
        );
        for (row, time, count) in self.rows() {
            let each = if count == 0 {
                0.0
            } else {
                time as f64 / count as f64
            };
            let _ = writeln!(
                text,
                "{:>2} {:<10} {:<server$} {:<image$} {:<11} {:>4} {:>8} {:>8.0} {each:>7.0} {:>5.1}%",
                row.id,
                row.role,
                row.server,
                named(&row.image),
                row.state,
                row.generation,
                row.restarts,
                per_second(count),
                100.0 * time as f64 / span
            );
        }
        match size {
            Some((columns, rows)) => {
                let cut = |line: &str| line.chars().take(columns).collect::<String>() + "\n";
                text.lines().take(rows.saturating_sub(1)).map(cut).collect()
            }
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(elapsed_ns: u64, servers: &[(u8, &str, u64, u64, u32)]) -> Listing {
        let row = |&(id, server, activations, time_ns, restarts): &(u8, &str, u64, u64, u32)| Row {
            id,
            role: "serial",
            server: server.into(),
            image: "uart-ring".into(),
            generation: restarts + 1,
            state: "running",
            activations,
            restarts,
            time_ns,
            instructions: None,
        };
        Listing {
            machine: "test".into(),
            elapsed_ns,
            exits: elapsed_ns / 1000,
            running: true,
            servers: servers.iter().map(row).collect(),
        }
    }

    fn names(frame: &Frame<'_>) -> Vec<String> {
        frame
            .rows()
            .iter()
            .map(|(row, ..)| row.server.clone())
            .collect()
    }

    #[test]
    fn the_order_is_by_what_happened_since_the_frame_before() {
        let before = machine(
            1_000_000_000,
            &[
                (1, "old", 900, 900_000, 0),
                (2, "new", 0, 0, 0),
                (3, "many", 10, 10, 4),
            ],
        );
        let now = machine(
            2_000_000_000,
            &[
                (1, "old", 910, 910_000, 0),
                (2, "new", 20, 400_000, 1),
                (3, "many", 510, 500, 4),
            ],
        );
        let frame = |order| Frame {
            now: &now,
            before: Some(&before),
            order,
        };
        assert_eq!(names(&frame(Order::Busy)), ["new", "old", "many"]);
        assert_eq!(names(&frame(Order::Activations)), ["many", "new", "old"]);
        assert_eq!(names(&frame(Order::Restarts)), ["many", "new", "old"]);
        assert_eq!(names(&frame(Order::Slot)), ["old", "new", "many"]);
        let text = frame(Order::Busy).text(None);
        let busiest: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(
            busiest,
            [
                "2",
                "serial",
                "new",
                "uart-ring",
                "running",
                "2",
                "1",
                "20",
                "20000",
                "0.0%"
            ]
        );
    }

    #[test]
    fn a_frame_is_no_larger_than_the_terminal() {
        let now = machine(1, &[(1, "one", 1, 1, 0); 30]);
        let text = Frame {
            now: &now,
            before: None,
            order: Order::Busy,
        }
        .text(Some((40, 10)));
        assert_eq!(text.lines().count(), 9);
        assert!(text.lines().all(|line| line.len() <= 40), "{text}");
    }
}
