//! Values that EFER and the page attribute table may take.

/// EFER.SVME: the kernel's own, never shown to the guest.
pub(crate) const SVME: u64 = 1 << 12;
const SCE: u64 = 1;
const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;
const NXE: u64 = 1 << 11;
const CR0_PAGING: u64 = 1 << 31;

/// What EFER becomes when `value` is written to it; `None` is #GP (APM vol. 2 §3.1.7).
///
/// LMA is the CPU's: it is set when paging is switched on with LME, and a write leaves it alone. LME cannot change while paging is on.
#[inline(always)]
pub(crate) fn efer(held: u64, value: u64, cr0: u64) -> Option<u64> {
    let switches_mode = (held ^ value) & LME != 0 && cr0 & CR0_PAGING != 0;
    if value & !(SCE | LME | LMA | NXE) != 0 || switches_mode {
        return None;
    }
    Some(value & !LMA | held & LMA)
}

/// Whether `value` is eight memory types, none of them reserved: 0, 1, 4, 5, 6 or 7 (APM vol. 2 §7.8.1).
#[inline(always)]
pub(crate) fn is_pat(value: u64) -> bool {
    const LOW_BITS: u64 = 0x0707_0707_0707_0707;
    const BIT_1: u64 = 0x0202_0202_0202_0202;
    // Types 2 and 3 have bit 1 without bit 2.
    let reserved = value & BIT_1 & !(value >> 1);
    value & !LOW_BITS == 0 && reserved == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pat_is_valid_exactly_if_each_of_its_types_is(types: [u8; 8]) {
            for types in [types, types.map(|kind| kind & 7)] {
                let valid = types.iter().all(|kind| matches!(kind, 0 | 1 | 4..=7));
                prop_assert_eq!(is_pat(u64::from_le_bytes(types)), valid);
            }
        }
    }

    #[test]
    fn lma_is_not_the_guests_to_change() {
        assert_eq!(efer(LME | LMA, LME, CR0_PAGING), Some(LME | LMA));
        assert_eq!(efer(0, LME | LMA, 0), Some(LME));
    }

    #[test]
    fn lme_does_not_change_while_paging() {
        assert_eq!(efer(0, LME, CR0_PAGING), None);
        assert_eq!(efer(LME | LMA, NXE, CR0_PAGING), None);
        assert_eq!(
            efer(LME | LMA, LME | SCE | NXE, CR0_PAGING),
            Some(LME | LMA | SCE | NXE)
        );
    }

    #[test]
    fn reserved_bits_and_svme_are_refused() {
        for bit in (0..64).filter(|bit| ![0, 8, 10, 11].contains(bit)) {
            assert_eq!(efer(0, 1 << bit, 0), None, "{bit}");
        }
    }
}
