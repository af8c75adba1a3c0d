//! Which faults have hit which effects.

use std::collections::{BTreeMap, BTreeSet};

use atoll_protocol::inject::Model;
use atoll_protocol::wire;

use crate::cells::{self, NOTHING};

/// The effects of an answer, each once.
#[must_use]
pub fn effects_of(answer: &[u8]) -> BTreeSet<&'static str> {
    let names: BTreeSet<_> = wire::effects(answer)
        .map(|effect| cells::name(&effect))
        .collect();
    if names.is_empty() {
        BTreeSet::from([NOTHING])
    } else {
        names
    }
}

/// Faults by the effects of the answers that they hit.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Faults by model and effect.
    pub cells: BTreeMap<(Model, &'static str), u64>,
    /// All faults.
    pub faults: u64,
}

impl Tally {
    /// A message that would have been answered like this was hit.
    pub fn note(&mut self, model: Model, answer: &[u8]) {
        self.faults += 1;
        for name in effects_of(answer) {
            *self.cells.entry((model, name)).or_default() += 1;
        }
    }

    /// How often a model has hit an effect.
    #[must_use]
    pub fn count(&self, model: Model, effect: &'static str) -> u64 {
        self.cells.get(&(model, effect)).copied().unwrap_or(0)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Tally) {
        self.faults += other.faults;
        for (cell, count) in &other.cells {
            *self.cells.entry(*cell).or_default() += count;
        }
    }
}
