//! The vault: a server's durable state, and the record of what an activation changed in it.

use core::ops::Deref;

use atoll_protocol::LINE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::server::Server;

/// Plain data that can live in a vault: any bytes are a value, and it has no padding. Implemented for all that qualifies.
pub trait Vaulted: FromBytes + IntoBytes + Immutable + KnownLayout + 'static {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + 'static> Vaulted for T {}

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

/// Lines that have a bit each: those of 4 KiB.
const BITS: u16 = u64::BITS as u16;

/// Dirty lines. Two numbers and a range stay in registers, where a list would not.
#[derive(Clone, Copy)]
pub(crate) struct Dirty {
    /// The first [`BITS`] lines, a bit each.
    low: u64,
    /// Of the others all that lie between two dirty ones, as a half-open range.
    high: (u16, u16),
}

impl Dirty {
    const NONE: Dirty = Dirty {
        low: 0,
        high: (u16::MAX, 0),
    };

    #[inline(always)]
    fn add(&mut self, first: u16, end: u16) {
        if first < BITS {
            let count = end.min(BITS) - first;
            self.low |= u64::MAX >> (BITS - count) << first;
        }
        if end > BITS {
            self.high = (self.high.0.min(first.max(BITS)), self.high.1.max(end));
        }
    }

    /// The lines as ranges: the first one, and how many.
    #[inline(always)]
    fn lines(mut self, mut each: impl FnMut(u16, u16)) {
        while self.low != 0 {
            let first = self.low.trailing_zeros();
            let count = (!(self.low >> first)).trailing_zeros();
            self.low &= !(u64::MAX >> (u64::BITS - count) << first);
            each(first as u16, count as u16);
        }
        let (first, end) = self.high;
        if first < end {
            each(first, end - first);
        }
    }
}

impl<'v, S: Server> Vault<'v, S> {
    #[inline(always)]
    pub(crate) fn new(state: &'v mut S::State, cache: &'v mut S::Cache) -> Self {
        Vault {
            state,
            cache,
            dirty: Dirty::NONE,
        }
    }

    /// Write access to a part of the state, whose lines the answer will name: `*vault.at(|s| &mut s.count) += 1`.
    #[inline(always)]
    pub fn at<T>(&mut self, part: impl FnOnce(&mut S::State) -> &mut T) -> &mut T {
        let base = core::ptr::from_mut(self.state).addr();
        let part = part(self.state);
        let start = core::ptr::from_mut(part).addr().wrapping_sub(base);
        let end = start + size_of::<T>();
        debug_assert!(
            end <= size_of::<S::State>(),
            "a part of something else than the state"
        );
        if size_of::<T>() > 0 {
            self.dirty
                .add((start / LINE) as u16, end.div_ceil(LINE) as u16);
        }
        part
    }

    /// Lets another server work on its part of the state and of the cache: how a server is made around another one.
    ///
    /// ```text
    /// vault.part(|state| &mut state.inner, |cache| cache, |inner| Inner::handle(inner, request, effects))
    /// ```
    #[inline(always)]
    pub fn part<T: Server, R>(
        &mut self,
        state: impl FnOnce(&mut S::State) -> &mut T::State,
        cache: impl FnOnce(&mut S::Cache) -> &mut T::Cache,
        work: impl FnOnce(&mut Vault<'_, T>) -> R,
    ) -> R {
        let base = core::ptr::from_mut(self.state).addr();
        let state = state(self.state);
        let start = core::ptr::from_mut(state).addr().wrapping_sub(base);
        let size = size_of::<T::State>();
        debug_assert!(
            start + size <= size_of::<S::State>(),
            "a part of something else than the state"
        );
        let mut inner = Vault::<T>::new(state, cache(self.cache));
        let result = work(&mut inner);
        // Its lines need not begin where those of the whole do.
        inner.dirty.lines(|first, count| {
            let end = size.min(usize::from(first + count) * LINE);
            self.dirty.add(
                ((start + usize::from(first) * LINE) / LINE) as u16,
                (start + end).div_ceil(LINE) as u16,
            );
        });
        result
    }

    /// Everything dirty: for the first state.
    pub(crate) fn all(&mut self) {
        self.at(|state| state);
    }

    /// Shows the lines to which there was write access: the first one, and how many.
    #[inline(always)]
    pub(crate) fn dirty(&self, each: impl FnMut(u16, u16)) {
        self.dirty.lines(each);
    }
}

impl<S: Server> Vault<'_, S> {
    /// The lines to which there was write access, and all between them, as one range: the first one, and how many; `None` if there are none.
    /// It is found without a loop.
    #[inline(always)]
    pub(crate) fn dirty_range(&self) -> Option<(u16, u16)> {
        let Dirty { low, high } = self.dirty;
        if size_of::<S::State>() > LINE * usize::from(BITS) && high.0 < high.1 {
            let first = if low != 0 {
                low.trailing_zeros() as u16
            } else {
                high.0
            };
            return Some((first, high.1 - first));
        }
        let (first, behind) = (low.trailing_zeros(), low.leading_zeros());
        // There are at most 64: the mask lets the compiler know.
        (low != 0).then(|| {
            (
                first as u16,
                (u64::BITS - behind - first) as u16 & (2 * BITS - 1),
            )
        })
    }
}

impl<S: Server> Deref for Vault<'_, S> {
    type Target = S::State;
    #[inline(always)]
    fn deref(&self) -> &S::State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(added: &[(u16, u16)]) -> std::vec::Vec<(u16, u16)> {
        let mut dirty = Dirty::NONE;
        added
            .iter()
            .for_each(|(first, end)| dirty.add(*first, *end));
        let mut ranges = std::vec::Vec::new();
        dirty.lines(|first, count| ranges.push((first, count)));
        ranges
    }

    #[test]
    fn dirty_lines_are_named_in_order_and_neighbours_together() {
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[(3, 4), (0, 1), (4, 6)]), [(0, 1), (3, 3)]);
        assert_eq!(ranges(&[(63, 64), (5, 6), (5, 6)]), [(5, 1), (63, 1)]);
        assert_eq!(ranges(&[(0, 64)]), [(0, 64)]);
    }

    #[test]
    fn beyond_4_kib_what_lies_between_dirty_lines_is_dirty() {
        assert_eq!(ranges(&[(62, 66)]), [(62, 2), (64, 2)]);
        assert_eq!(ranges(&[(100, 101), (70, 72), (1, 2)]), [(1, 1), (70, 31)]);
        assert_eq!(ranges(&[(0, 4096)]), [(0, 64), (64, 4032)]);
    }
}
