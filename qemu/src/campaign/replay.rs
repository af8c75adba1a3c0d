//! Doing a recorded experiment again, and finding the fewest faults that have the same outcome.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use atoll_protocol::inject::INJECTIONS;

use super::experiment::Prepared;
use super::grammar::Fault;
use super::record::Record;
use super::runner::Campaign;
use super::sweep::Experiment;
use crate::bare::target::Permission;
use crate::error::{Error, Result};

/// A phase's place in the plan, and when its snapshot was to be taken and was.
type Key = (usize, u64, u64);

/// Records, and the machine that they were made on.
#[derive(Debug)]
pub struct Replay {
    campaign: Campaign,
    /// By their place in the plan, and by their snapshots' times: each shard has its own.
    phases: BTreeMap<Key, Prepared>,
    /// The records.
    pub records: Vec<Record>,
}

impl Replay {
    /// Builds the machine anew, for the records in `dir`.
    pub fn open(dir: &Path, permission: Permission) -> Result<Self> {
        let records = super::store::all(dir)?;
        Ok(Self {
            campaign: Campaign::reopen(dir, permission)?,
            phases: BTreeMap::new(),
            records,
        })
    }

    /// The record with this name.
    pub fn record(&self, id: &str) -> Result<Record> {
        let record = self.records.iter().find(|record| record.id == id).cloned();
        record.ok_or_else(|| Error::Usage {
            what: format!("there is no record '{id}'"),
        })
    }

    /// Takes the record's phase up again, and refuses if the machine is not the one that the record was made on.
    fn prepare(&mut self, record: &Record) -> Result<Key> {
        let place = self
            .campaign
            .plan
            .phase
            .iter()
            .position(|phase| phase.name == record.phase);
        let place = place.ok_or_else(|| Error::Usage {
            what: format!("the plan has no phase '{}'", record.phase),
        })?;
        let key = (place, record.depends.from, record.depends.reached);
        // All snapshots of a phase are in one place.
        self.phases
            .retain(|other, _| *other == key || other.0 != place);
        if let Entry::Vacant(vacant) = self.phases.entry(key) {
            vacant.insert(self.campaign.prepare(place, Some(&record.depends))?);
        }
        let differences = record.depends.differences(self.phases[&key].depends());
        if !differences.is_empty() {
            let what = format!(
                "'{}' was recorded on another machine:\n  {}",
                record.id,
                differences.join("\n  ")
            );
            return Err(Error::Usage { what });
        }
        Ok(key)
    }

    /// Does it again.
    pub fn again(&mut self, record: &Record) -> Result<Record> {
        self.with(record, record.faults.clone())
    }

    fn with(&mut self, record: &Record, faults: Vec<Fault>) -> Result<Record> {
        let key = self.prepare(record)?;
        let experiment = Experiment {
            id: record.id.clone(),
            phase: key.0,
            faults,
        };
        Ok(self.phases[&key].experiment(&self.campaign.lab, &self.campaign.origin, &experiment))
    }

    /// Leaves faults out, and hits fewer messages with those that hit several, as long as the outcome stays.
    pub fn minimise(&mut self, record: &Record, mut told: impl FnMut(&Record)) -> Result<Record> {
        let mut least = self.again(record)?;
        let mut failed = None;
        loop {
            let pieces = pieces(&least);
            let all = pieces.len();
            let faults = reduce(pieces, |fewer| match self.with(record, fewer.to_vec()) {
                Ok(fewer) if fewer.outcome == record.outcome => {
                    told(&fewer);
                    least = fewer;
                    true
                }
                Ok(_) => false,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            // What is left hits one message each, or cannot do with fewer.
            if faults.len() == all {
                return Ok(least);
            }
        }
    }
}

/// The record's faults, those that hit several messages cut into as many pieces as a plan has room for.
fn pieces(record: &Record) -> Vec<Fault> {
    let room = INJECTIONS.checked_div(record.faults.len()).unwrap_or(1) as u32;
    let faults = record.faults.iter().zip(0_u8..);
    faults
        .flat_map(|(fault, place)| fault.split(record.hits(place), room))
        .collect()
}

/// Zeller's delta debugging, by complements: halves, then quarters, and so on, down to single items (A. Zeller, R. Hildebrandt, 2002).
fn reduce<T: Clone>(mut items: Vec<T>, mut still: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut parts = 2;
    while items.len() > 1 {
        let size = items.len().div_ceil(parts);
        let without = (0..items.len()).step_by(size).find_map(|start| {
            let rest: Vec<T> = items
                .iter()
                .take(start)
                .chain(items.iter().skip(start + size))
                .cloned()
                .collect();
            (!rest.is_empty() && still(&rest)).then_some(rest)
        });
        match without {
            Some(rest) => {
                items = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(items.len()),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let needed = |items: &[u32]| items.contains(&3) && items.contains(&17);
        assert_eq!(reduce((0..32).collect(), needed), [3, 17]);
        assert_eq!(reduce(vec![5], |_| true), [5]);
        assert_eq!(reduce((0..9).collect(), |items| items.contains(&8)), [8]);
    }
}
