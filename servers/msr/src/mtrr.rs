//! Memory type range registers (APM vol. 2 §7.7), as storage.
//!
//! Guest RAM is write-back whatever they say. They exist because Linux gives up the page attribute table without them, and begin as a
//! firmware would leave them: write-back, the VGA window and the devices' gap below 4 GiB uncached.

use atoll_protocol::layout::{GAP_END, GAP_START};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::index;

/// Variable ranges.
const VARIABLE: usize = 8;
const FIXED: usize = 11;

/// MTRR_CAP: eight variable ranges, fixed ranges, write-combining.
const CAPABILITIES: u64 = VARIABLE as u64 | 1 << 8 | 1 << 10;
const WRITE_BACK: u64 = 6;
const WRITE_BACKS: u64 = 0x0606_0606_0606_0606;
/// Valid bit of a variable range's mask.
const VALID: u64 = 1 << 11;
/// Fixed ranges on, all ranges on.
const ENABLED: u64 = 1 << 10 | 1 << 11;

/// The registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ranges {
    /// Base and mask of each variable range.
    variable: [u64; 2 * VARIABLE],
    /// 64 KiB, 16 KiB and 4 KiB pieces.
    fixed: [u64; FIXED],
    /// MTRR_DEFAULT.
    default: u64,
    /// Bits that an address may have, above its page offset.
    frame_bits: u64,
    /// Not used; zero.
    reserved: [u64; 3],
}

/// A register that may be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Variable(usize),
    Fixed(usize),
    Default,
    Capabilities,
}

impl Place {
    fn of(index: u32) -> Option<Place> {
        let offset = |first: u32| (index - first) as usize;
        Some(match index {
            index::MTRR_CAP => Place::Capabilities,
            index::MTRR_DEFAULT => Place::Default,
            index::MTRR_VARIABLE..=index::MTRR_VARIABLE_LAST => {
                Place::Variable(offset(index::MTRR_VARIABLE))
            }
            index::MTRR_FIXED_64K => Place::Fixed(0),
            index::MTRR_FIXED_16K..=index::MTRR_FIXED_16K_LAST => {
                Place::Fixed(1 + offset(index::MTRR_FIXED_16K))
            }
            index::MTRR_FIXED_4K..=index::MTRR_FIXED_4K_LAST => {
                Place::Fixed(3 + offset(index::MTRR_FIXED_4K))
            }
            _ => return None,
        })
    }
}

/// Whether this is one of the registers.
#[must_use]
pub(crate) fn owns(index: u32) -> bool {
    Place::of(index).is_some()
}

/// Whether all eight bytes are memory types: UC, WC, WT, WP or WB.
fn are_types(value: u64) -> bool {
    value
        .to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4 | 5 | 6))
}

impl Ranges {
    /// MTRR_DEFAULT, the fixed ranges, the variable ones.
    pub(crate) fn export(&self) -> [u64; 1 + FIXED + 2 * VARIABLE] {
        let mut registers = [self.default; 1 + FIXED + 2 * VARIABLE];
        registers
            .iter_mut()
            .skip(1)
            .zip(self.fixed.iter().chain(&self.variable))
            .for_each(|(to, from)| *to = *from);
        registers
    }

    /// The same, the other way round.
    pub(crate) fn import(&mut self, registers: &[u64; 1 + FIXED + 2 * VARIABLE]) {
        self.default = registers[0];
        let places = self.fixed.iter_mut().chain(&mut self.variable);
        places
            .zip(registers.iter().skip(1))
            .for_each(|(to, from)| *to = *from);
    }

    /// As a firmware leaves them.
    pub(crate) fn new(physical_bits: u32) -> Ranges {
        let frame_bits = 1_u64
            .checked_shl(physical_bits)
            .map_or(u64::MAX, |end| end - 1)
            & !0xfff;
        let mut variable = [0; 2 * VARIABLE];
        // Base, with type 0 (uncached), and mask of the devices' gap.
        variable[0] = GAP_START;
        variable[1] = !(GAP_END - GAP_START - 1) & frame_bits | VALID;
        let mut fixed = [WRITE_BACKS; FIXED];
        // 0xa0000 to 0xbffff.
        fixed[2] = 0;
        Ranges {
            variable,
            fixed,
            default: WRITE_BACK | ENABLED,
            frame_bits,
            reserved: [0; 3],
        }
    }

    /// A register's value; `None` if it is not one of these.
    pub(crate) fn read(&self, index: u32) -> Option<u64> {
        match Place::of(index)? {
            Place::Variable(place) => self.variable.get(place).copied(),
            Place::Fixed(place) => self.fixed.get(place).copied(),
            Place::Default => Some(self.default),
            Place::Capabilities => Some(CAPABILITIES),
        }
    }

    /// Write access to a register; `None` if it cannot be written.
    pub(crate) fn get(&mut self, place: Place) -> Option<&mut u64> {
        match place {
            Place::Variable(place) => self.variable.get_mut(place),
            Place::Fixed(place) => self.fixed.get_mut(place),
            Place::Default => Some(&mut self.default),
            Place::Capabilities => None,
        }
    }

    /// Which register a write goes to; `None` is #GP: it is read-only, or the value has reserved bits or types.
    pub(crate) fn place(&self, index: u32, value: u64) -> Option<Place> {
        let place = Place::of(index)?;
        let valid = match place {
            Place::Variable(number) if number % 2 == 0 => {
                value & !(self.frame_bits | 0xff) == 0 && are_types(value & 0xff)
            }
            Place::Variable(_) => value & !(self.frame_bits | VALID) == 0,
            Place::Fixed(_) => are_types(value),
            Place::Default => value & !(ENABLED | 0xff) == 0 && are_types(value & 0xff),
            Place::Capabilities => false,
        };
        valid.then_some(place)
    }
}
