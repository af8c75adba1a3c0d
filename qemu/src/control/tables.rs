//! What a running machine tells of itself, as tables for people.

use atoll_protocol::control::{Ask, MachineRecord, Moments, ServerRecord, Tell};

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

/// A server's name, image, role, state, generation and restarts.
#[must_use]
pub fn server_columns(record: &ServerRecord<'_>) -> String {
    let (name, image) = (shown::name(record.name), shown::name(record.image));
    let (image, role, state) = (named(&image), record.role.name(), record.state.name());
    format!(
        "{name:<12} {image:<16} {role:<10} {state:<8} {:>4} {:>8}",
        record.generation, record.restarts
    )
}

/// What stands above them, behind the slot.
#[must_use]
pub fn server_titles() -> &'static str {
    "id name         image            role       state     gen restarts"
}

/// What stands above a duration.
#[must_use]
pub fn columns() -> String {
    format!(
        "{:>10} {:>10} {:>10} {:>10} {:>12} {:>6}",
        "count", "min ns", "mean ns", "max ns", "total ms", "share"
    )
}

/// A duration: count, extremes, mean and sum, and its share of `whole` ticks.
#[must_use]
pub fn cells(time: &Moments, machine: &MachineRecord, whole: u64) -> String {
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
        100.0 * time.sum as f64 / whole.max(1) as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_by_the_machines_clock() {
        let machine = MachineRecord {
            tsc_khz: 2_000_000,
            ..MachineRecord::default()
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
            1000,
        );
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["2", "50", "125", "200", "0.00", "50.0%"]
        );
    }
}
