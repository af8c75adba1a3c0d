//! Words of guest memory as they once were: the question of a cache that must never answer from guest memory that has changed.

use atoll_protocol::layout::ram_offset;
use atoll_protocol::units::Gpa;

use super::{GuestMemory, NotRam, word};

/// Bytes of a word.
const WORD: u64 = 8;

/// Aligned words of guest memory, and what they were. What is RAM stays RAM: where they are is worked out once.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<const N: usize> {
    /// Bytes of guest memory that there must be, for all of them to be in it.
    end: u64,
    /// Which word of the RAM, and its value.
    words: [(u64, u64); N],
}

impl<const N: usize> Snapshot<N> {
    /// What no guest memory is.
    pub const NEVER: Self = Snapshot {
        end: u64::MAX,
        words: [(0, 0); N],
    };

    /// Of these words, at most `N` of them and at least one: address and value.
    ///
    /// # Errors
    /// One of them is not aligned, or not RAM.
    ///
    /// # Panics
    /// There are none, or too many.
    pub fn new(guest: &GuestMemory<'_>, words: &[(Gpa, u64)]) -> Result<Self, NotRam> {
        assert!(
            (1..=N).contains(&words.len()),
            "a snapshot of {} words in {N} places",
            words.len()
        );
        let mut snapshot = Snapshot {
            end: 0,
            words: [(0, 0); N],
        };
        // Places that are not used repeat the first word: looking at a few too many is cheaper than to count.
        for (place, (gpa, value)) in snapshot
            .words
            .iter_mut()
            .zip(words.iter().chain(words.iter().cycle()))
        {
            let offset = ram_offset(guest.size, gpa.0)
                .filter(|offset| offset.is_multiple_of(WORD))
                .ok_or(NotRam)?;
            *place = (offset / WORD, *value);
            snapshot.end = snapshot.end.max(offset + WORD);
        }
        if snapshot.end > guest.size {
            Err(NotRam)
        } else {
            Ok(snapshot)
        }
    }
}

impl GuestMemory<'_> {
    /// Whether all words of a snapshot still are what they were.
    #[inline(always)]
    #[must_use]
    pub fn is_still<const N: usize>(&self, snapshot: &Snapshot<N>) -> bool {
        if snapshot.end > self.size {
            return false;
        }
        snapshot.words.iter().all(|(index, was)| {
            let from = self.base.wrapping_add((index * WORD) as usize);
            // SAFETY: `end` is behind the last of the words, and the memory is no smaller.
            (unsafe { word(from) }) == *was
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_stands_until_one_of_its_words_changes() {
        let mut bytes = [0_u8; 64];
        let words = [(Gpa(8), 0x11), (Gpa(56), 0x22)];
        (bytes[8], bytes[56]) = (0x11, 0x22);
        let snapshot = Snapshot::<4>::new(&GuestMemory::slice(&bytes), &words).unwrap();
        bytes[16] = 1;
        assert!(GuestMemory::slice(&bytes).is_still(&snapshot));
        for place in [8, 15, 56, 63] {
            let mut changed = bytes;
            changed[place] ^= 0x40;
            assert!(
                !GuestMemory::slice(&changed).is_still(&snapshot),
                "byte {place}"
            );
        }
    }

    #[test]
    fn a_snapshot_never_looks_beyond_the_memory_that_it_is_held_against() {
        let bytes = [0_u8; 64];
        let snapshot = Snapshot::<1>::new(&GuestMemory::slice(&bytes), &[(Gpa(56), 0)]).unwrap();
        assert!(!GuestMemory::slice(&bytes[..63]).is_still(&snapshot));
        assert!(!GuestMemory::NONE.is_still(&snapshot));
        assert!(!GuestMemory::slice(&bytes).is_still(&Snapshot::<1>::NEVER));
    }

    #[test]
    fn only_aligned_words_of_ram_are_taken() {
        let bytes = [0_u8; 60];
        let guest = GuestMemory::slice(&bytes);
        for gpa in [4, 56, 64, 0xc000_0000, u64::MAX - 7] {
            assert_eq!(
                Snapshot::<1>::new(&guest, &[(Gpa(gpa), 0)]).map(|_| ()),
                Err(NotRam),
                "{gpa:#x}"
            );
        }
    }
}
