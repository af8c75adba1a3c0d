//! What a running machine tells of itself, as tables for people.

use std::fmt::Write as _;

use atoll_protocol::control::{Ask, MachineRecord, Moments, Tell};

use super::Line;
use super::listing::named;
use crate::error::Result;
use crate::shown;

/// The machine itself.
pub fn machine(line: &mut Line) -> Result<MachineRecord> {
    line.ask(Ask::Machine)?;
    line.answer(|tell| {
        if let Tell::Machine(record) = tell {
            Some(*record)
        } else {
            None
        }
    })
}

/// Its servers.
pub fn servers(line: &mut Line) -> Result<String> {
    let machine = machine(line)?;
    let mut rows = line.list(Ask::Servers, |tell| {
        let Tell::Server(record) = tell else {
            return None;
        };
        let (name, image) = (shown::name(record.name), shown::name(record.image));
        let (image, role, state) = (named(&image), record.role.name(), record.state.name());
        let row = format!(
            "{name:<12} {image:<16} {role:<10} {state:<8} {:>4} {:>8}",
            record.generation, record.restarts
        );
        Some((record.id, row, record.time))
    })?;
    rows.sort_by_key(|(id, ..)| *id);
    let mut table = format!(
        "id name         image            role       state     gen restarts {}\n",
        columns()
    );
    for (id, row, time) in rows {
        let _ = writeln!(table, "{id:>2} {row} {}", cells(&time, &machine));
    }
    Ok(table)
}

/// Its exits.
pub fn exits(line: &mut Line) -> Result<String> {
    let machine = machine(line)?;
    let rows = line.list(Ask::Exits, |tell| {
        let Tell::Exit(record) = tell else {
            return None;
        };
        Some((format!("{:<24}", shown::name(record.name)), record.time))
    })?;
    let mut table = format!("{:<24} {}\n", "exit", columns());
    for (name, time) in rows.into_iter().filter(|(_, time)| time.count > 0) {
        let _ = writeln!(table, "{name} {}", cells(&time, &machine));
    }
    let _ = writeln!(
        table,
        "{} exits; {} stray ports, {} stray addresses",
        machine.exits, machine.stray_ports, machine.stray_memory
    );
    Ok(table)
}

fn columns() -> String {
    format!(
        "{:>10} {:>10} {:>10} {:>10} {:>12} {:>6}",
        "count", "min ns", "mean ns", "max ns", "total ms", "share"
    )
}

fn cells(time: &Moments, machine: &MachineRecord) -> String {
    let nanoseconds = |ticks: f64| ticks * 1e6 / (machine.tsc_khz.max(1) as f64);
    let mean = if time.count == 0 {
        0.0
    } else {
        time.sum as f64 / time.count as f64
    };
    let least = if time.count == 0 { 0 } else { time.min };
    format!(
        "{:>10} {:>10.0} {:>10.0} {:>10.0} {:>12.2} {:>5.1}%",
        time.count,
        nanoseconds(least as f64),
        nanoseconds(mean),
        nanoseconds(time.max as f64),
        nanoseconds(time.sum as f64) / 1e6,
        100.0 * time.sum as f64 / machine.elapsed.max(1) as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_by_the_machines_clock() {
        let machine = MachineRecord {
            tsc_khz: 2_000_000,
            elapsed: 1000,
            exits: 1,
            running: true,
            free_frames: 0,
            stray_ports: 0,
            stray_memory: 0,
        };
        let row = cells(
            &Moments {
                count: 2,
                min: 100,
                max: 400,
                sum: 500,
                squares: 0,
            },
            &machine,
        );
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["2", "50", "125", "200", "0.00", "50.0%"]
        );
    }
}
