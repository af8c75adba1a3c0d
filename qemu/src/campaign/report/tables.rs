//! What the records come to.

use std::collections::{BTreeMap, BTreeSet};

use super::statistics::percentile;
use crate::campaign::depends::Depends;
use crate::campaign::grammar::Fault;
use crate::campaign::journal::{Event, spans};
use crate::campaign::outcome::Outcome;
use crate::campaign::record::Record;

/// Counts of one fault at one server in one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Runs.
    pub(super) runs: usize,
    /// Faults that were injected in them.
    pub(super) injected: usize,
    /// Those of them in runs that the guest did not notice.
    pub(super) injected_unnoticed: usize,
    /// Runs in which at least one was.
    pub(super) activated: usize,
    /// Runs in which the guest could see something, or a server had to recover.
    pub(super) manifested: usize,
    /// Servers' faults that Atoll detected.
    pub(super) detected: usize,
    /// Recoveries.
    pub(super) recovered: usize,
    /// Runs by outcome.
    pub(super) outcomes: BTreeMap<Outcome, usize>,
}

impl Cell {
    fn add(&mut self, record: &Record) {
        self.runs += 1;
        self.injected += record.injected;
        self.injected_unnoticed += if record.outcome.is_unnoticed() {
            record.injected
        } else {
            0
        };
        self.activated += usize::from(record.injected > 0);
        self.manifested += usize::from(!matches!(
            record.outcome,
            Outcome::NotActivated | Outcome::Masked
        ));
        self.detected += record.detected;
        self.recovered += record.recovered;
        *self.outcomes.entry(record.outcome).or_default() += 1;
    }

    /// Runs with this outcome.
    pub(super) fn of(&self, outcome: Outcome) -> usize {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Activated runs that the guest did not notice.
    pub(super) fn unnoticed(&self) -> usize {
        self.of(Outcome::Masked) + self.of(Outcome::Recovered)
    }
}

/// Runs without faults: how often the experiment itself gives another result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// Runs.
    pub(super) runs: usize,
    /// Those whose console differs from the golden run's, or that ended otherwise.
    pub(super) differing: usize,
    /// Different numbers of exits and instructions that there were, over all phases and their snapshots, beyond one for each.
    pub(super) unequal: usize,
}

/// Percentiles of a latency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) name: String,
    /// All values, in order.
    pub(super) values: Vec<u64>,
}

impl Latency {
    /// Count, median, 90th, 99th percentile, maximum.
    pub(super) fn figures(&self) -> [Option<u64>; 5] {
        let at = |share| percentile(&self.values, share);
        [
            Some(self.values.len() as u64),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        ]
    }
}

/// Fault, server.
pub(super) type Key = (String, String, String);

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Tables<'r> {
    pub(super) campaign: String,
    pub(super) all: Cell,
    /// By phase, fault and server.
    pub(super) cells: BTreeMap<Key, Cell>,
    /// By phase and fault, over all servers.
    pub(super) faults: BTreeMap<(String, String), Cell>,
    pub(super) latencies: Vec<Latency>,
    pub(super) floor: Floor,
    /// Atoll's sources.
    pub(super) revisions: BTreeSet<String>,
    /// Everything that is neither masked nor recovered, nor was not activated.
    pub(super) cases: Vec<&'r Record>,
    /// What the runs depended on, by phase.
    pub(super) depends: BTreeMap<String, Depends>,
    pub(super) plan: String,
}

impl<'r> Tables<'r> {
    pub(super) fn of(records: &'r [Record]) -> Self {
        let mut tables = Self {
            campaign: records
                .first()
                .map_or_else(String::new, |record| record.campaign.clone()),
            all: Cell::default(),
            cells: BTreeMap::new(),
            faults: BTreeMap::new(),
            latencies: latencies(records),
            floor: floor(records),
            revisions: records
                .iter()
                .map(|record| record.revision.clone())
                .collect(),
            cases: records
                .iter()
                .filter(|record| !record.outcome.is_unnoticed())
                .collect(),
            depends: BTreeMap::new(),
            plan: records
                .first()
                .map_or_else(String::new, |record| record.plan.clone()),
        };
        for record in records {
            tables
                .depends
                .entry(record.phase.clone())
                .or_insert_with(|| record.depends.clone());
        }
        for record in records.iter().filter(|record| !record.is_control()) {
            tables.all.add(record);
            let (phase, fault, server) = key(record);
            tables
                .faults
                .entry((phase.clone(), fault.clone()))
                .or_default()
                .add(record);
            tables
                .cells
                .entry((phase, fault, server))
                .or_default()
                .add(record);
        }
        tables
    }
}

impl Tables<'_> {
    /// Atoll's sources.
    pub(super) fn sources(&self) -> String {
        self.revisions
            .iter()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A run's cell: that of its first fault, since a sweep's runs have faults of one kind only.
fn key(record: &Record) -> Key {
    let fault = record.faults.first();
    let server = fault.and_then(|fault| fault.server.clone());
    (
        record.phase.clone(),
        fault.map_or_else(|| "none".into(), Fault::what),
        server.unwrap_or_else(|| "any".into()),
    )
}

fn floor(records: &[Record]) -> Floor {
    let mut floor = Floor::default();
    // Runs that go on from snapshots of different instants have come a different way.
    let mut ends: BTreeMap<(&str, &str), BTreeSet<_>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_control()) {
        floor.runs += 1;
        floor.differing += usize::from(!record.outcome.is_unnoticed());
        ends.entry((&record.phase, &record.depends.snapshot))
            .or_default()
            .insert((record.exits, record.ticks));
    }
    floor.unequal = ends.values().map(|ends| ends.len() - 1).sum();
    floor
}

/// Spans between two kinds of events: of all servers, then server by server.
fn latencies(records: &[Record]) -> Vec<Latency> {
    type Marks = (
        &'static str,
        fn(&Event) -> Option<(u8, u64)>,
        fn(&Event) -> Option<(u8, u64)>,
    );
    let kinds: [Marks; 4] = [
        ("detect", Event::injection, Event::detection),
        ("restart", Event::detection, Event::restart),
        ("recover", Event::detection, Event::recovery),
        ("blackout", Event::hold, Event::release),
    ];
    let mut latencies = Vec::new();
    for (name, begins, ends) in kinds {
        let mut by_server: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for record in records {
            for (server, ticks) in spans(&record.events, begins, ends) {
                let server = record
                    .depends
                    .servers
                    .get(usize::from(server))
                    .map_or("?", String::as_str);
                by_server.entry(server).or_default().push(ticks);
            }
        }
        let mut add = |name: String, mut values: Vec<u64>| {
            values.sort_unstable();
            latencies.push(Latency { name, values });
        };
        if !by_server.is_empty() {
            add(name.into(), by_server.values().flatten().copied().collect());
        }
        by_server
            .into_iter()
            .for_each(|(server, values)| add(format!("{name}: {server}"), values));
    }
    latencies
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run without a fault.
    fn control(snapshot: &str, ticks: u64) -> Record {
        serde_json::from_value(json!({
            "id": format!("boot.control.{snapshot}.{ticks}"), "campaign": "c", "plan": "p", "revision": "r", "phase": "boot", "faults": [],
            "outcome": "masked", "end": "power-off", "injected": 0, "detected": 0, "recovered": 0, "detect_ticks": [],
            "restart_ticks": [], "recover_ticks": [], "blackout_ticks": [], "events": [], "exits": 7, "ticks": ticks,
            "difference": null, "console": "x", "tail": [], "dump": [], "wall_ms": 1, "replay": "again",
            "depends": {
                "protocol": "1/0", "kernel": "k", "bundle": "b", "servers": [], "guest_kernel": "g", "initrd": "i", "command_line": "",
                "qemu": "7.2.22", "emulator": "q", "arguments": "", "from": 1, "reached": 2, "snapshot": snapshot, "input": ""
            }
        }))
        .unwrap()
    }

    #[test]
    fn runs_from_snapshots_of_different_instants_are_not_compared() {
        let mut records = vec![
            control("one", 100),
            control("one", 100),
            control("two", 300),
            control("two", 300),
        ];
        let merged = floor(&records);
        assert_eq!((merged.runs, merged.differing, merged.unequal), (4, 0, 0));
        records.push(control("two", 301));
        assert_eq!(floor(&records).unequal, 1);
    }
}
