//! Which guest-physical addresses are RAM, and with which page a fault on them is answered.

use atoll_protocol::effect::Mapping;
use atoll_protocol::layout::ram_offset;
use atoll_protocol::units::Gpa;
use atoll_sdk::GuestMemory;

use crate::State;

/// The window of VGA memory: RAM lies behind it, but no access reaches it; it belongs to whichever device claims it.
const VGA: core::ops::Range<u64> = 0xa_0000..0xc_0000;

/// Whether `gpa` is RAM to the guest.
#[inline(always)]
pub(crate) fn is_ram(memory: u64, gpa: u64) -> bool {
    ram_offset(memory, gpa).is_some() && !VGA.contains(&gpa)
}

/// Reads the aligned eight bytes at `gpa`, if they are RAM to the guest.
#[inline(always)]
pub(crate) fn read_u64(guest: &GuestMemory<'_>, gpa: u64) -> Option<u64> {
    if VGA.contains(&gpa) {
        None
    } else {
        guest.read_u64(Gpa(gpa)).ok()
    }
}

/// Reads `into.len()` bytes of one page, if they are RAM to the guest.
pub(crate) fn read(guest: &GuestMemory<'_>, gpa: u64, into: &mut [u8]) -> Option<()> {
    if VGA.contains(&gpa) {
        None
    } else {
        guest.read(Gpa(gpa), into).ok()
    }
}

/// How a fault at `gpa` is answered, if that is RAM.
#[inline(always)]
pub(crate) fn mapping(state: &State, memory: u64, gpa: u64) -> Option<Mapping> {
    is_ram(memory, gpa).then(|| page(memory, gpa, state.small_start..state.small_end))
}

/// The page with which a fault at `gpa` (RAM) is answered: 2 MiB where all of it is RAM and nobody asked for small pages there.
#[inline(always)]
pub(crate) fn page(memory: u64, gpa: u64, small: core::ops::Range<u64>) -> Mapping {
    let first = gpa & !(Mapping::LARGE - 1);
    let last = first + (Mapping::LARGE - 1);
    // RAM ends and the devices' gap starts at arbitrary page boundaries, in general; the VGA window is in the first 2 MiB.
    let large = first != 0
        && ram_offset(memory, last).is_some()
        && (last < small.start || first >= small.end);
    let size = if large {
        Mapping::LARGE
    } else {
        Mapping::SMALL
    };
    Mapping {
        gpa: Gpa(gpa & !(size - 1)),
        size,
        access: Mapping::WRITE | Mapping::EXECUTE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 64 << 20;

    #[test]
    fn ram_is_mapped_in_large_pages() {
        assert_eq!(
            page(MEMORY, 0x40_1234, 0..0),
            Mapping {
                gpa: Gpa(0x40_0000),
                size: Mapping::LARGE,
                access: 3
            }
        );
    }

    #[test]
    fn the_first_two_mebibytes_are_mapped_in_small_pages_around_the_vga_window() {
        assert_eq!(
            page(MEMORY, 0xc_0123, 0..0),
            Mapping {
                gpa: Gpa(0xc_0000),
                size: Mapping::SMALL,
                access: 3
            }
        );
        assert!(
            is_ram(MEMORY, 0x9_ffff)
                && !is_ram(MEMORY, 0xa_0000)
                && !is_ram(MEMORY, 0xb_ffff)
                && is_ram(MEMORY, 0xc_0000)
        );
    }

    #[test]
    fn a_large_page_that_is_not_all_ram_is_not_used() {
        assert_eq!(page(0x41_0000, 0x40_1000, 0..0).size, Mapping::SMALL);
    }

    #[test]
    fn a_range_of_small_pages_is_kept_small_and_its_neighbours_are_not() {
        let small = 0x60_0000..0x80_0000;
        assert_eq!(page(MEMORY, 0x5f_f000, small.clone()).size, Mapping::LARGE);
        assert_eq!(page(MEMORY, 0x60_0000, small.clone()).size, Mapping::SMALL);
        assert_eq!(page(MEMORY, 0x80_0000, small).size, Mapping::LARGE);
    }

    #[test]
    fn addresses_that_wrap_are_not_ram() {
        assert!(!is_ram(MEMORY, u64::MAX) && !is_ram(MEMORY, 0xfee0_0000));
    }
}
