//! Numbers that a seed determines (SplitMix64).

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Values where something begins or ends.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x1000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff,
    0x8000_0000_0000,
    0xffff_7fff_ffff_ffff,
    0xffff_8000_0000_0000,
    1 << 63,
    u64::MAX,
];

impl Random {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.any()) * u128::from(end)) >> 64) as u64
    }

    /// Yes, once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// A number that is more often at an edge than not.
    pub fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.any(),
            1 => self.any() >> self.below(64),
            _ => self.of(&EDGES),
        }
    }

    /// Some of the bits.
    pub fn some(&mut self, bits: u64) -> u64 {
        self.any() & bits
    }

    /// One of the bits.
    pub fn bit(&mut self, bits: u64) -> u64 {
        let index = self.below(u64::from(bits.count_ones()));
        (0..64)
            .map(|bit| 1 << bit)
            .filter(|bit| bits & bit != 0)
            .nth(index as usize)
            .unwrap_or(0)
    }
}
