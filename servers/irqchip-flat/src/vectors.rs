//! A byte for each vector: whether it is pending, in service, level-triggered (the IRR, ISR and TMR of Intel SDM vol. 3 §11.8.4).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Pending: IRR.
pub(crate) const PENDING: u8 = 1;
/// In service: ISR.
pub(crate) const SERVED: u8 = 2;
/// Level-triggered: TMR.
pub(crate) const LEVEL: u8 = 4;

/// All vectors. The first sixteen are never in use, so that 0 can stand for none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Vectors([u8; 256]);

impl Vectors {
    /// Nothing is going on.
    pub(crate) const EMPTY: Vectors = Vectors([0; 256]);

    /// The highest vector with this bit; 0 if none has it.
    pub(crate) fn highest(&self, bit: u8) -> u8 {
        self.0
            .iter()
            .rposition(|vector| vector & bit != 0)
            .unwrap_or(0) as u8
    }

    /// What the CPU should take next: a vector of a higher class than any that it serves; 0 if there is none.
    pub(crate) fn next(&self) -> u8 {
        let next = self.highest(PENDING);
        if next >> 4 > self.highest(SERVED) >> 4 {
            next
        } else {
            0
        }
    }

    /// It becomes pending.
    pub(crate) fn request(&mut self, vector: u8, level: bool) {
        let vector = &mut self.0[usize::from(vector)];
        *vector = *vector & !LEVEL | PENDING | if level { LEVEL } else { 0 };
    }

    /// The CPU begins to serve it.
    pub(crate) fn serve(&mut self, vector: u8) {
        let served = if vector < 16 { 0 } else { SERVED };
        let vector = &mut self.0[usize::from(vector)];
        *vector = *vector & !PENDING | served;
    }

    /// The CPU has served the highest: which one that was, 0 if it was none, and whether it is level-triggered.
    pub(crate) fn end(&mut self) -> (u8, bool) {
        let vector = self.highest(SERVED);
        let served = &mut self.0[usize::from(vector)];
        *served &= !SERVED;
        (vector, *served & LEVEL != 0)
    }

    /// The 32 vectors from `32 * part` on, a bit each.
    pub(crate) fn register(&self, bit: u8, part: u8) -> u32 {
        let part = self.0.chunks_exact(32).nth(part.into()).unwrap_or(&[]);
        part.iter().enumerate().fold(0, |all, (place, vector)| {
            all | u32::from(vector & bit != 0) << place
        })
    }

    /// All vectors, a bit each.
    pub(crate) fn words(&self, bit: u8) -> [u64; 4] {
        [0, 2, 4, 6].map(|part| {
            u64::from(self.register(bit, part)) | u64::from(self.register(bit, part + 1)) << 32
        })
    }

    /// Sets this bit for those vectors.
    pub(crate) fn set_words(&mut self, bit: u8, words: &[u64; 4]) {
        for (place, vector) in self.0.iter_mut().enumerate().skip(16) {
            if words[place / 64] >> (place % 64) & 1 != 0 {
                *vector |= bit;
            }
        }
    }
}
