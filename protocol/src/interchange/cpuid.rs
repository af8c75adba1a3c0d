//! CPUID: what the guest has been shown.
//!
//! Version 1 had the features alone, and so did the servers that spoke it.

use serde::{Deserialize, Serialize};

use super::{Interchange, write};

/// What a guest was shown of its CPU: it may rely on that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct CpuidState {
    /// Bits of leaf 1 ECX and EDX, leaf 7 EBX, ECX and EDX, leaf 0x80000001 ECX and EDX, leaf 0xd EAX.
    pub features: [u32; 8],
    /// Bits of a physical address (leaf 0x80000008 EAX); 0 if that is not known.
    pub physical_bits: u32,
}

/// Version 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
struct Features {
    features: [u32; 8],
}

impl Interchange for CpuidState {
    const VERSION: u16 = 2;
    const OLDEST: u16 = 1;

    fn write(&self, version: u16, into: &mut [u8]) -> Option<usize> {
        match version {
            1 => write(
                version,
                &Features {
                    features: self.features,
                },
                into,
            ),
            2 => write(version, self, into),
            _ => None,
        }
    }

    fn read(version: u16, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => postcard::from_bytes(bytes)
                .ok()
                .map(|Features { features }| CpuidState {
                    features,
                    physical_bits: 0,
                }),
            2 => postcard::from_bytes(bytes).ok(),
            _ => None,
        }
    }
}

impl CpuidState {
    /// What `self` has and `other` has not: how many features, and bits of an address.
    #[must_use]
    pub fn missing_in(&self, other: &CpuidState) -> u32 {
        let features: u32 = self
            .features
            .iter()
            .zip(&other.features)
            .map(|(mine, its)| (mine & !its).count_ones())
            .sum();
        features + self.physical_bits.saturating_sub(other.physical_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interchange::{Note, split};
    use crate::role::Cpuid;

    const STATE: CpuidState = CpuidState {
        features: [1, 2, 3, 4, 5, 6, 7, 8],
        physical_bits: 40,
    };

    fn through(version: u16) -> Option<CpuidState> {
        let mut page = [0; 100];
        let length = STATE.write(version, &mut page)?;
        let (written, rest) = split(&page[..length])?;
        assert_eq!(written, version);
        CpuidState::read(written, rest)
    }

    #[test]
    fn an_older_state_is_brought_up_to_date_and_what_it_could_not_say_is_unknown() {
        assert_eq!(
            through(1),
            Some(CpuidState {
                physical_bits: 0,
                ..STATE
            })
        );
        assert_eq!(through(2), Some(STATE));
    }

    #[test]
    fn there_is_no_version_before_the_first_or_after_the_last() {
        assert_eq!((through(0), through(3)), (None, None));
        assert_eq!(CpuidState::read(3, &[0; 100]), None);
    }

    #[test]
    fn a_server_follows_an_older_one_but_no_newer_one() {
        let (old, new) = (Note::of::<Cpuid>(1, "old"), Note::of::<Cpuid>(2, "new"));
        assert!(new.succeeds(&old) && new.succeeds(&new) && old.succeeds(&old));
        assert!(!old.succeeds(&new));
    }

    #[test]
    fn what_is_not_known_is_not_relied_upon() {
        let old = CpuidState {
            physical_bits: 0,
            ..STATE
        };
        let narrow = CpuidState {
            physical_bits: 36,
            ..STATE
        };
        assert_eq!(
            (
                old.missing_in(&narrow),
                STATE.missing_in(&narrow),
                narrow.missing_in(&STATE)
            ),
            (0, 4, 0)
        );
    }
}
