//! Which faults have hit which effects.

use std::collections::BTreeMap;

use atoll_protocol::wire;

/// Faults by the effects of the answers that they hit.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The model that is being played.
    pub model: &'static str,
    /// Faults by model and effect; an answer without effects counts as `nothing`.
    pub cells: BTreeMap<(&'static str, String), u64>,
    /// All faults.
    pub faults: u64,
}

impl Tally {
    /// An activation with this answer was hit.
    pub fn note(&mut self, answer: &[u8]) {
        self.faults += 1;
        let mut names: Vec<String> = wire::effects(answer).map(|effect| name(&format!("{effect:?}"))).collect();
        if names.is_empty() {
            names.push("nothing".into());
        }
        names.sort();
        names.dedup();
        for name in names {
            *self.cells.entry((self.model, name)).or_default() += 1;
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Tally) {
        self.faults += other.faults;
        for (cell, count) in &other.cells {
            *self.cells.entry(cell.clone()).or_default() += count;
        }
    }
}

/// An effect's name, from how it prints.
fn name(text: &str) -> String {
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
