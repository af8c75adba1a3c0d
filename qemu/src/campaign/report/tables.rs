//! What the records come to.

use std::collections::BTreeMap;

use super::statistics::percentile;
use crate::campaign::outcome::Outcome;
use crate::campaign::record::{Depends, Record};

/// Counts of one fault at one server in one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Runs.
    pub(super) runs: usize,
    /// Faults that were injected in them.
    pub(super) injected: usize,
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
        self.activated += usize::from(record.injected > 0);
        self.manifested += usize::from(!matches!(record.outcome, Outcome::NotActivated | Outcome::Masked));
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
        [Some(self.values.len() as u64), at(0.5), at(0.9), at(0.99), at(1.0)]
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
    pub(super) latencies: Vec<Latency>,
    /// Everything that is neither masked nor recovered, nor was not activated.
    pub(super) cases: Vec<&'r Record>,
    /// What the runs depended on, by phase.
    pub(super) depends: BTreeMap<String, Depends>,
    pub(super) plan: String,
}

impl<'r> Tables<'r> {
    pub(super) fn of(records: &'r [Record]) -> Self {
        let mut tables = Self {
            campaign: records.first().map_or_else(String::new, |record| record.campaign.clone()),
            all: Cell::default(),
            cells: BTreeMap::new(),
            latencies: Vec::new(),
            cases: records.iter().filter(|record| !record.outcome.is_unnoticed()).collect(),
            depends: BTreeMap::new(),
            plan: records.first().map_or_else(String::new, |record| record.plan.clone()),
        };
        for record in records {
            tables.all.add(record);
            tables.cells.entry(key(record)).or_default().add(record);
            tables.depends.entry(record.phase.clone()).or_insert_with(|| record.depends.clone());
        }
        tables.latencies = latencies(records);
        tables
    }
}

/// A run's cell: that of its first fault, since a sweep's runs have faults of one kind only.
fn key(record: &Record) -> Key {
    let fault = record.faults.first();
    let model = fault.map(ToString::to_string).and_then(|text| text.split(' ').next().map(str::to_owned));
    let server = fault.and_then(|fault| fault.server.clone());
    (record.phase.clone(), model.unwrap_or_else(|| "none".into()), server.unwrap_or_else(|| "any".into()))
}

fn latencies(records: &[Record]) -> Vec<Latency> {
    let mut latencies = Vec::new();
    let mut add = |name: String, values: &mut dyn Iterator<Item = u64>| {
        let mut values: Vec<u64> = values.collect();
        values.sort_unstable();
        if !values.is_empty() {
            latencies.push(Latency { name, values });
        }
    };
    add("detect".into(), &mut records.iter().flat_map(|record| record.detect_ticks.iter().copied()));
    add("restart".into(), &mut records.iter().flat_map(|record| record.restart_ticks.iter().copied()));
    add("recover".into(), &mut records.iter().flat_map(|record| record.recover_ticks.iter().copied()));
    let mut by_server: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        by_server.entry(key(record).2).or_default().extend(&record.recover_ticks);
    }
    for (server, values) in by_server {
        add(format!("recover: {server}"), &mut values.into_iter());
    }
    latencies
}
