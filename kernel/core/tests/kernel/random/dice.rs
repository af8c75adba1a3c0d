//! Where chance comes from: a seed, or the bytes that a fuzzer has thought of.

/// Dice.
pub(crate) struct Dice {
    state: u64,
    bytes: Option<(Vec<u8>, usize)>,
}

impl Dice {
    /// Dice that fall as the seed says (SplitMix64).
    pub(crate) fn new(seed: u64) -> Dice {
        Dice {
            state: seed,
            bytes: None,
        }
    }

    /// Dice that fall as the bytes say.
    pub(crate) fn loaded(bytes: &[u8]) -> Dice {
        Dice {
            state: 0,
            bytes: Some((bytes.to_vec(), 0)),
        }
    }

    /// Whether loaded dice have no bytes left.
    pub(crate) fn are_spent(&self) -> bool {
        self.bytes
            .as_ref()
            .is_some_and(|(bytes, at)| *at >= bytes.len())
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        if self.bytes.is_some() {
            return u64::from_le_bytes([(); 8].map(|()| self.byte()));
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        match &mut self.bytes {
            None => self.any() as u8,
            Some((bytes, at)) => {
                *at += 1;
                bytes.get(*at - 1).copied().unwrap_or(0)
            }
        }
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if self.bytes.is_some() && end <= 256 {
            u64::from(self.byte()) % end
        } else {
            self.any() % end
        }
    }

    /// True in one of so many throws.
    pub(crate) fn one_in(&mut self, throws: u64) -> bool {
        self.below(throws) == 0
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A number of the kind at which mistakes are made.
    pub(crate) fn edge(&mut self) -> u64 {
        let near = 1_u64.checked_shl(self.below(65) as u32).unwrap_or(0);
        near.wrapping_add(self.below(5)).wrapping_sub(2)
    }

    /// So many bytes at most.
    pub(crate) fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length)
            .map(|index| (index as u8).wrapping_mul(37))
            .collect()
    }
}
