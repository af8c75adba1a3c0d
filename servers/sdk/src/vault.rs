//! The vault: a server's durable state, and the record of what an activation changed in it.

use core::ops::Deref;

use atoll_protocol::LINE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::server::Server;

/// Plain data that can live in a vault: any bytes are a value, and it has no padding. Implemented for all that qualifies.
pub trait Vaulted: FromBytes + IntoBytes + Immutable + KnownLayout + 'static {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + 'static> Vaulted for T {}

/// Ranges of dirty lines that one activation keeps apart; beyond that they are merged.
const RANGES: usize = 12;

/// A server's state during one activation.
///
/// Reading goes through `Deref`; writing goes through [`Vault::at`], which records the lines it gives access to. A line that is
/// changed but not recorded cannot exist: there is no other way to a `&mut`.
pub struct Vault<'v, S: Server> {
    state: &'v mut S::State,
    /// What may be lost at any time; never changes an answer.
    pub cache: &'v mut S::Cache,
    dirty: Dirty,
}

/// Dirty lines as half-open ranges.
pub(crate) struct Dirty {
    ranges: [(u16, u16); RANGES],
    used: usize,
}

impl Dirty {
    #[inline(always)]
    fn add(&mut self, first: u16, end: u16) {
        if let Some(last) = self.used.checked_sub(1).and_then(|last| self.ranges.get_mut(last))
            && first <= last.1
            && end >= last.0
        {
            *last = (last.0.min(first), last.1.max(end));
            return;
        }
        match self.ranges.get_mut(self.used) {
            Some(range) => {
                *range = (first, end);
                self.used += 1;
            }
            None => {
                let all = self.ranges.iter().fold((first, end), |all, range| (all.0.min(range.0), all.1.max(range.1)));
                self.ranges = [(0, 0); RANGES];
                self.ranges[0] = all;
                self.used = 1;
            }
        }
    }

    /// The ranges as (first line, count).
    #[inline(always)]
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.ranges.iter().take(self.used).map(|(first, end)| (*first, end - first))
    }
}

impl<'v, S: Server> Vault<'v, S> {
    #[inline(always)]
    pub(crate) fn new(state: &'v mut S::State, cache: &'v mut S::Cache) -> Self {
        Vault { state, cache, dirty: Dirty { ranges: [(0, 0); RANGES], used: 0 } }
    }

    /// Write access to a part of the state, whose lines the answer will name: `*vault.at(|s| &mut s.count) += 1`.
    #[inline(always)]
    pub fn at<T>(&mut self, part: impl FnOnce(&mut S::State) -> &mut T) -> &mut T {
        let base = core::ptr::from_mut(self.state).addr();
        let part = part(self.state);
        let start = core::ptr::from_mut(part).addr().wrapping_sub(base);
        let end = start + size_of::<T>();
        debug_assert!(end <= size_of::<S::State>(), "a part of something else than the state");
        if size_of::<T>() > 0 {
            self.dirty.add((start / LINE) as u16, end.div_ceil(LINE) as u16);
        }
        part
    }

    /// Everything dirty: for the first state.
    pub(crate) fn all(&mut self) {
        self.at(|state| state);
    }

    #[inline(always)]
    pub(crate) fn dirty(&self) -> &Dirty {
        &self.dirty
    }
}

impl<S: Server> Deref for Vault<'_, S> {
    type Target = S::State;
    #[inline(always)]
    fn deref(&self) -> &S::State {
        self.state
    }
}
