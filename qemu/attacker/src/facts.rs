//! What a case has seen, as a hash: two machines that do the same print the same. The facts themselves are printed if they are asked for.

use std::fmt::Display;

/// What a case has seen.
#[derive(Debug)]
pub(crate) struct Facts {
    hash: u64,
    told: bool,
}

impl Facts {
    pub(crate) fn new(told: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            told,
        }
    }

    /// Takes notice of something that must be the same on every machine (FNV-1a).
    pub(crate) fn note(&mut self, fact: impl Display) {
        let text = fact.to_string();
        for byte in text.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.told {
            println!("  {text}");
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
