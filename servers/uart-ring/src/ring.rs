//! Bytes on their way, by counters that only grow (modulo 2^32): what waits is the difference of two of them, and nothing is ever moved.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A ring of `N` bytes, a power of two.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Ring<const N: usize> {
    /// Bytes that have ever come.
    came: U32,
    /// Bytes that have ever gone.
    went: U32,
    bytes: [u8; N],
}

impl<const N: usize> Ring<N> {
    /// An empty ring.
    pub const EMPTY: Self = {
        assert!(N.is_power_of_two());
        Ring {
            came: U32::ZERO,
            went: U32::ZERO,
            bytes: [0; N],
        }
    };

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.came.get().wrapping_sub(self.went.get()) as usize % (2 * N)
    }

    /// Adds a byte; false if there is no place.
    pub fn push(&mut self, byte: u8) -> bool {
        let free = self.waiting() < N;
        if free {
            self.bytes[self.came.get() as usize % N] = byte;
            self.came.set(self.came.get().wrapping_add(1));
        }
        free
    }

    /// Takes the oldest byte.
    pub fn pop(&mut self) -> Option<u8> {
        (self.waiting() != 0).then(|| {
            let byte = self.bytes[self.went.get() as usize % N];
            self.went.set(self.went.get().wrapping_add(1));
            byte
        })
    }

    /// The bytes that wait, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &u8> {
        self.bytes
            .iter()
            .cycle()
            .skip(self.went.get() as usize % N)
            .take(self.waiting())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_is_a_queue_also_where_its_counters_begin_anew(steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let mut ring = Ring::<16> { came: U32::new(u32::MAX - 20), went: U32::new(u32::MAX - 20), ..Ring::EMPTY };
            let mut queue = VecDeque::new();
            for step in steps {
                match step {
                    Some(byte) => {
                        prop_assert_eq!(ring.push(byte), queue.len() < 16);
                        if queue.len() < 16 {
                            queue.push_back(byte);
                        }
                    }
                    None => prop_assert_eq!(ring.pop(), queue.pop_front()),
                }
                prop_assert_eq!(ring.iter().copied().collect::<Vec<_>>(), Vec::from(queue.clone()));
            }
        }
    }
}
