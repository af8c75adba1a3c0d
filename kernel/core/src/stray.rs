//! Which ports and addresses that are nobody's the guest touches most: what it waits for when it hangs is often one of them.
//!
//! There is room for a few. One that is not among them takes the place of the least touched and goes on with its count (Metwally, Agrawal, El
//! Abbadi: "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005): what is touched often is there in the end.

use atoll_protocol::control::{STRAYS, Stray};

/// Counts them.
pub(crate) struct Strays([Stray; STRAYS]);

impl Strays {
    /// None yet.
    pub(crate) const NONE: Self = Self(
        [Stray {
            memory: false,
            address: 0,
            count: 0,
        }; STRAYS],
    );

    /// One more access.
    #[cold]
    pub(crate) fn note(&mut self, memory: bool, address: u64) {
        let known =
            |stray: &Stray| (stray.memory, stray.address) == (memory, address) && stray.count > 0;
        let place = match self.0.iter().position(known) {
            Some(place) => self.0.get_mut(place),
            None => self.0.iter_mut().min_by_key(|stray| stray.count),
        };
        if let Some(place) = place {
            *place = Stray {
                memory,
                address,
                count: place.count.saturating_add(1),
            };
        }
    }

    /// The most touched first.
    pub(crate) fn most(&self) -> [Stray; STRAYS] {
        let mut most = self.0;
        most.sort_unstable_by_key(|stray| core::cmp::Reverse(stray.count));
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_often_is_there_in_the_end_whatever_else_is_touched() {
        let mut strays = Strays::NONE;
        for round in 0..1000 {
            strays.note(true, 0xb8000);
            strays.note(false, 0x80 + round % 300);
            if round % 2 == 0 {
                strays.note(false, 0x61);
            }
        }
        let [first, second, ..] = strays.most();
        assert_eq!((first.memory, first.address), (true, 0xb8000));
        assert_eq!((second.memory, second.address), (false, 0x61));
        assert!(first.count >= 1000 && second.count >= 500);
    }
}
