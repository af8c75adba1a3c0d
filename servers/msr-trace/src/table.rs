//! Which registers are logged, and which denied: ranges from the server's options.

use atoll_sdk::Refuse;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ranges that a table has room for.
const RANGES: usize = 20;

/// Ranges of registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Table {
    /// First and last of each; behind `used` all zero.
    ranges: [[u32; 2]; RANGES],
    used: u32,
}

impl Table {
    /// Registers like `0x10 0x200..=0x2ff`, numbers in decimal or, behind `0x`, hexadecimal.
    pub(crate) fn parse(option: &'static str, text: &str) -> Result<Table, Refuse> {
        let mut table = Table::default();
        for range in text.split_whitespace() {
            let (first, last) = range.split_once("..=").unwrap_or((range, range));
            let range = number(first)
                .zip(number(last))
                .filter(|(first, last)| first <= last);
            let place = table.ranges.get_mut(table.used as usize);
            let ((first, last), place) = range.zip(place).ok_or(Refuse::BadOption(option))?;
            *place = [first, last];
            table.used += 1;
        }
        Ok(table)
    }

    /// Every register.
    pub(crate) const fn all() -> Table {
        let mut ranges = [[0; 2]; RANGES];
        ranges[0] = [0, u32::MAX];
        Table { ranges, used: 1 }
    }

    /// Whether this register is in it.
    pub(crate) fn has(&self, index: u32) -> bool {
        self.ranges
            .iter()
            .take(self.used as usize)
            .any(|[first, last]| (*first..=*last).contains(&index))
    }

    /// Whether no register is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_registers_are_in_the_table_and_others_are_not() {
        let table = Table::parse("log", "16 0x200..=0x2ff  0xc0000080").expect("a table");
        assert!(
            [16, 0x200, 0x27f, 0x2ff, 0xc000_0080]
                .iter()
                .all(|index| table.has(*index))
        );
        assert!(
            [0, 17, 0x1ff, 0x300, 0xc000_0081]
                .iter()
                .all(|index| !table.has(*index))
        );
        assert!(Table::all().has(0) && Table::all().has(u32::MAX));
        assert!(Table::parse("log", "").expect("none").is_empty());
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let many = "1 ".repeat(RANGES + 1);
        for text in ["x", "0x", "0x2ff..=0x200", "1..2", "0x100000000", &many] {
            assert!(Table::parse("deny", text).is_err(), "{text}");
        }
    }
}
