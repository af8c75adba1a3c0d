//! Tables with a place for each id, and sets of ids. An id is one of so many by its type, so that a look-up cannot miss.

use core::marker::PhantomData;
use core::ops::{Index, IndexMut};

use atoll_protocol::ids::{HostIrq, LineId, ServerId, TimerId};

/// A number from 0 up to a bound that its type knows.
pub trait Id: Copy + 'static {
    /// All of them, in order.
    const ALL: &'static [Self];

    /// Its place among them.
    fn place(self) -> usize;
}

macro_rules! ids {
    ($($name:ident),*) => {
        $(impl Id for $name {
            const ALL: &'static [Self] = &Self::ALL;

            #[inline(always)]
            fn place(self) -> usize {
                self.index()
            }
        })*
    };
}

ids!(ServerId, TimerId, LineId, HostIrq);

/// Something for each server.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct PerServer<T>(pub [T; ServerId::COUNT]);

impl<T> PerServer<T> {
    /// All with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, &T)> {
        ServerId::all().zip(&self.0)
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ServerId, &mut T)> {
        ServerId::all().zip(&mut self.0)
    }

    /// Two different ones, to change both; nothing if they are one.
    pub fn two_mut(&mut self, one: ServerId, other: ServerId) -> Option<(&mut T, &mut T)> {
        let places = self.0.get_disjoint_mut([one.index(), other.index()]);
        places.ok().map(|[one, other]| (one, other))
    }
}

impl<T> Index<ServerId> for PerServer<T> {
    type Output = T;

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "there is a place for each id")]
    fn index(&self, id: ServerId) -> &T {
        &self.0[id.index()]
    }
}

impl<T> IndexMut<ServerId> for PerServer<T> {
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "there is a place for each id")]
    fn index_mut(&mut self, id: ServerId) -> &mut T {
        &mut self.0[id.index()]
    }
}

/// A set of ids.
#[derive(Debug)]
pub struct Set<I>(u64, PhantomData<I>);

impl<I> Clone for Set<I> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Set<I> {}

impl<I> PartialEq for Set<I> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<I> Eq for Set<I> {}

impl<I: Id> Set<I> {
    /// None.
    pub const EMPTY: Self = {
        assert!(I::ALL.len() <= 64, "a set has 64 places");
        Self(0, PhantomData)
    };

    /// Adds one.
    #[inline(always)]
    pub fn insert(&mut self, id: I) {
        self.0 |= 1 << id.place();
    }

    /// Takes one out.
    #[inline(always)]
    pub fn remove(&mut self, id: I) {
        self.0 &= !(1 << id.place());
    }

    /// Adds one or takes it out.
    #[inline(always)]
    pub fn set(&mut self, id: I, is_in: bool) {
        self.remove(id);
        self.0 |= u64::from(is_in) << id.place();
    }

    /// Whether it is one of them.
    #[inline(always)]
    #[must_use]
    pub fn contains(self, id: I) -> bool {
        self.0 >> id.place() & 1 != 0
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of these are in the other, too.
    #[inline(always)]
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The first.
    #[inline(always)]
    #[must_use]
    pub fn first(self) -> Option<I> {
        I::ALL.get(self.0.trailing_zeros() as usize).copied()
    }

    /// The first from `from` on; behind the last the first of all.
    #[inline(always)]
    #[must_use]
    pub fn next_from(self, from: I) -> Option<I> {
        let later = Self(self.0 & u64::MAX << from.place(), PhantomData);
        if later.is_empty() { self } else { later }.first()
    }

    /// Takes the first out.
    #[inline(always)]
    pub fn take_first(&mut self) -> Option<I> {
        let first = self.first();
        self.0 &= self.0.wrapping_sub(1);
        first
    }

    /// All of them, in order.
    #[inline(always)]
    pub fn iter(mut self) -> impl Iterator<Item = I> {
        core::iter::from_fn(move || self.take_first())
    }

    /// The set, one bit for each.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_goes_round_from_any_place() {
        let mut set = Set::EMPTY;
        assert_eq!(set.next_from(ServerId::nth(5)), None);
        for number in [3, 9, 31] {
            set.insert(ServerId::nth(number));
        }
        let from = |number| set.next_from(ServerId::nth(number)).map(ServerId::number);
        assert_eq!([0, 3, 4, 10, 31].map(from), [3, 3, 9, 31, 31].map(Some));
        assert_eq!(set.iter().count(), 3);
        set.remove(ServerId::nth(31));
        assert_eq!(set.next_from(ServerId::nth(10)), Some(ServerId::nth(3)));
    }
}
