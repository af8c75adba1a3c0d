//! A set of interrupt vectors: the 256-bit IRR, ISR and TMR of a local APIC (Intel SDM vol. 3 §11.8.4).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set of vectors. Vectors 0 to 15 are never members: no local APIC accepts them, so that 0 can mean "none".
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Vectors([u64; 4]);

impl Vectors {
    /// The empty set.
    pub const EMPTY: Vectors = Vectors([0; 4]);

    /// The set as 256 bits.
    pub(crate) fn words(self) -> [u64; 4] {
        self.0
    }

    /// The set of these 256 bits, of which the lowest 16 do not count.
    pub(crate) fn of_words([low, rest @ ..]: [u64; 4]) -> Vectors {
        let [b, c, d] = rest;
        Vectors([low & !0xffff, b, c, d])
    }

    /// Puts a vector in.
    #[inline(always)]
    pub fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] |= 1 << (vector & 63);
    }

    /// Takes a vector out.
    #[inline(always)]
    pub fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] &= !(1 << (vector & 63));
    }

    /// Whether a vector is in.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] & 1 << (vector & 63) != 0
    }

    /// The highest vector, which is the one of highest priority; 0 if there is none.
    #[inline(always)]
    #[must_use]
    pub fn highest(&self) -> u8 {
        let [a, b, c, d] = self.0;
        // The order of likelihood: Linux puts its timer and IPIs at the top, devices below.
        let (base, word) = if d != 0 {
            (192, d)
        } else if c != 0 {
            (128, c)
        } else if b != 0 {
            (64, b)
        } else if a != 0 {
            (0, a)
        } else {
            return 0;
        };
        base + 63 - word.leading_zeros() as u8
    }

    /// One of the eight 32-bit registers that show the set to the guest.
    #[must_use]
    pub fn register(&self, index: u8) -> u32 {
        (self.0[usize::from(index >> 1 & 3)] >> (u32::from(index & 1) * 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_vectors_is_a_set(changes in prop::collection::vec((16_u8.., any::<bool>()), 0..64)) {
            let mut set = Vectors::EMPTY;
            let mut model = std::collections::BTreeSet::new();
            for (vector, insert) in changes {
                if insert {
                    set.insert(vector);
                    model.insert(vector);
                } else {
                    set.remove(vector);
                    model.remove(&vector);
                }
                prop_assert_eq!(set.highest(), model.last().copied().unwrap_or(0));
                prop_assert_eq!(set.contains(vector), insert);
                let shown = set.register(vector >> 5) >> (vector & 31) & 1 == 1;
                prop_assert_eq!(shown, insert);
            }
        }
    }
}
