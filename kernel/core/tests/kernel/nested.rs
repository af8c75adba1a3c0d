//! The nested tables of the simulated machine, and a processor that caches whatever it may: every translation, and every table on the way
//! to one, from the moment at which the guest runs until a flush. QEMU flushes at each entry, so that a flush that is missing shows nowhere
//! else.

use std::collections::{BTreeMap, BTreeSet};

use atoll_protocol::effect::Mapping;

/// Levels below the root, by the bits of an address that lead to an entry of the level's table.
const LEVELS: [u32; 3] = [39, 30, 21];

/// A leaf: where it begins, and its size and rights.
type Leaves = BTreeMap<u64, (u64, u64)>;
/// The tables below the root, by level and by the address where what they map begins; each with its number, which none has twice.
type Tables = BTreeMap<(u32, u64), u64>;

/// The tables, and what the processor may still know of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Nested {
    leaves: Leaves,
    tables: Tables,
    numbers: u64,
    /// The leaves that the guest has last run with, and all tables since the last flush.
    cached: Leaves,
    walked: BTreeSet<u64>,
    /// Tables that were taken out, and are no free frames yet.
    retired: Vec<u64>,
}

impl Nested {
    /// Enters a mapping; whether it took something's place, and how many frames it took for tables.
    pub(crate) fn map(&mut self, mapping: Mapping) -> (bool, u64) {
        let before = self.numbers;
        let stale = self.unmap(mapping);
        let depth = if mapping.size == Mapping::LARGE { 2 } else { 3 };
        for level in LEVELS.into_iter().take(depth) {
            self.tables
                .entry((level, mapping.gpa.0 >> level))
                .or_insert_with(|| {
                    self.numbers += 1;
                    self.numbers
                });
        }
        self.leaves
            .insert(mapping.gpa.0, (mapping.size, mapping.access));
        (stale, self.numbers - before)
    }

    /// How many frames a mapping takes for tables.
    pub(crate) fn needs(&self, mapping: Mapping) -> u64 {
        let depth = if mapping.size == Mapping::LARGE { 2 } else { 3 };
        let tables = LEVELS.into_iter().take(depth);
        tables
            .filter(|level| !self.tables.contains_key(&(*level, mapping.gpa.0 >> level)))
            .count() as u64
    }

    /// Whether tables that were taken out are no free frames yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Takes out all that overlaps a page; whether there was anything.
    pub(crate) fn unmap(&mut self, mapping: Mapping) -> bool {
        let (start, end) = (mapping.gpa.0, mapping.gpa.0 + mapping.size);
        let before = self.leaves.len();
        self.leaves
            .retain(|at, (size, _)| *at >= end || at + *size <= start);
        let table = (mapping.size == Mapping::LARGE)
            .then(|| self.tables.remove(&(LEVELS[2], start >> LEVELS[2])))
            .flatten();
        self.retired.extend(table);
        self.leaves.len() != before || table.is_some()
    }

    /// Takes out the page of 4 KiB there, and the tables that hold nothing else; whether there was one.
    pub(crate) fn prune(&mut self, gpa: u64) -> bool {
        if self
            .leaves
            .get(&gpa)
            .is_none_or(|(size, _)| *size != Mapping::SMALL)
        {
            return false;
        }
        self.leaves.remove(&gpa);
        for level in LEVELS.into_iter().rev() {
            let inside = |at: &u64| at >> level == gpa >> level;
            let lower = self
                .tables
                .keys()
                .any(|(of, at)| *of < level && inside(&(at << of)));
            if lower || self.leaves.keys().any(inside) {
                break;
            }
            self.retired
                .extend(self.tables.remove(&(level, gpa >> level)));
        }
        true
    }

    /// Takes out everything.
    pub(crate) fn clear(&mut self) {
        self.leaves.clear();
        self.retired
            .extend(std::mem::take(&mut self.tables).into_values());
    }

    /// The guest runs, after a flush or without one.
    ///
    /// # Panics
    /// The processor may use a translation that is in the tables no more.
    pub(crate) fn run(&mut self, flush: bool) {
        if flush {
            self.cached.clear();
            self.walked.clear();
        }
        for (at, leaf) in &self.cached {
            assert_eq!(
                self.leaves.get(at),
                Some(leaf),
                "the guest runs with a translation of {at:#x} that was taken away"
            );
        }
        self.cached.clone_from(&self.leaves);
        self.walked.extend(self.tables.values());
    }

    /// Gives up the tables that were taken out; how many they are.
    ///
    /// # Panics
    /// The processor may still walk one.
    pub(crate) fn give_back(&mut self) -> u64 {
        let retired = std::mem::take(&mut self.retired);
        let walked = retired.iter().find(|table| self.walked.contains(table));
        assert_eq!(
            walked, None,
            "a table is given back that the processor may walk"
        );
        retired.len() as u64
    }

    /// What is mapped where.
    pub(crate) fn leaves(&self) -> &Leaves {
        &self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_protocol::units::Gpa;

    fn page(gpa: u64, size: u64, access: u64) -> Mapping {
        Mapping {
            gpa: Gpa(gpa),
            size,
            access,
        }
    }

    #[test]
    #[should_panic(expected = "was taken away")]
    fn a_smaller_right_without_a_flush_is_noticed() {
        let mut nested = Nested::default();
        let _ = nested.map(page(0x1000, Mapping::SMALL, 3));
        nested.run(false);
        assert_eq!(nested.map(page(0x1000, Mapping::SMALL, 1)), (true, 0));
        nested.run(false);
    }

    #[test]
    #[should_panic(expected = "that the processor may walk")]
    fn a_table_that_is_given_back_before_the_flush_is_noticed() {
        let mut nested = Nested::default();
        let _ = nested.map(page(0x1000, Mapping::SMALL, 3));
        nested.run(false);
        assert_eq!(nested.map(page(0, Mapping::LARGE, 3)), (true, 0));
        nested.give_back();
    }

    #[test]
    fn with_a_flush_a_table_is_a_free_frame() {
        let mut nested = Nested::default();
        assert_eq!(nested.map(page(0x1000, Mapping::SMALL, 3)), (false, 3));
        nested.run(false);
        let _ = nested.map(page(0, Mapping::LARGE, 3));
        nested.run(true);
        assert_eq!((nested.give_back(), nested.give_back()), (1, 0));
    }
}
