//! Doing a recorded experiment again, and finding the fewest faults that have the same outcome.

use std::path::Path;

use super::experiment::Prepared;
use super::grammar::Fault;
use super::record::Record;
use super::runner::Campaign;
use super::sweep::Experiment;
use crate::bare::target::Permission;
use crate::error::{Error, Result};

/// A record, and the machine that it was made on.
#[derive(Debug)]
pub struct Replay {
    campaign: Campaign,
    phase: Prepared,
    place: usize,
    /// The record.
    pub record: Record,
}

impl Replay {
    /// Builds the machine anew, and refuses if it is not the one that the record was made on.
    pub fn prepare(dir: &Path, id: &str, permission: Permission) -> Result<Self> {
        let record = super::store::all(dir)?.into_iter().find(|record| record.id == id);
        let record = record.ok_or_else(|| Error::Usage { what: format!("{} has no record '{id}'", dir.display()) })?;
        let campaign = Campaign::reopen(dir, permission)?;
        let place = campaign.plan.phase.iter().position(|phase| phase.name == record.phase);
        let place = place.ok_or_else(|| Error::Usage { what: format!("the plan has no phase '{}'", record.phase) })?;
        let phase = campaign.prepare(place, Some(&record.depends))?;
        let differences = record.depends.differences(phase.depends());
        if !differences.is_empty() {
            let what = format!("'{id}' was recorded on another machine:\n  {}", differences.join("\n  "));
            return Err(Error::Usage { what });
        }
        Ok(Self { campaign, phase, place, record })
    }

    /// Does it again.
    #[must_use]
    pub fn again(&self) -> Record {
        self.with(self.record.faults.clone())
    }

    fn with(&self, faults: Vec<Fault>) -> Record {
        let experiment = Experiment { id: self.record.id.clone(), phase: self.place, faults };
        self.phase.experiment(&self.campaign.lab, &self.campaign.plan.name, &self.campaign.hash, &experiment)
    }

    /// Leaves faults out as long as the outcome stays.
    #[must_use]
    pub fn minimise(&self, mut told: impl FnMut(&Record)) -> Record {
        let mut least = self.again();
        let wanted = self.record.outcome;
        let faults = reduce(self.record.faults.clone(), |fewer| {
            let record = self.with(fewer.to_vec());
            let same = record.outcome == wanted;
            if same {
                told(&record);
                least = record;
            }
            same
        });
        debug_assert!(least.outcome != wanted || faults == least.faults);
        least
    }
}

/// Zeller's delta debugging, by complements: halves, then quarters, and so on, down to single items (A. Zeller, R. Hildebrandt, 2002).
fn reduce<T: Clone>(mut items: Vec<T>, mut still: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut parts = 2;
    while items.len() > 1 {
        let size = items.len().div_ceil(parts);
        let without = (0..items.len()).step_by(size).find_map(|start| {
            let rest: Vec<T> = items.iter().take(start).chain(items.iter().skip(start + size)).cloned().collect();
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
