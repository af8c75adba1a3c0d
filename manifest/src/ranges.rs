//! Numbers in manifests: ranges (`0x20..=0x21`, or one number), sizes (`256M`) and durations (`200us`); and ranges that overlap.

use std::ops::Range;

use crate::error::Result;
use crate::source::Source;

/// A number, decimal or with a prefix (`0x`, `0o`, `0b`), with `_` between digits.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text.as_str(), 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

/// `first..=last`, or one number.
#[must_use]
pub fn inclusive(text: &str) -> Option<(u64, u64)> {
    match text.split_once("..=") {
        Some((first, last)) => number(first)
            .zip(number(last))
            .filter(|(first, last)| first <= last),
        None => number(text).map(|only| (only, only)),
    }
}

/// Bytes: `4096`, `64K`, `256M`, `1G`.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// Microseconds: `200us`, `5ms`, `1s`.
#[must_use]
pub fn microseconds(text: &str) -> Option<u64> {
    let units = [("us", 1), ("ms", 1000), ("s", 1_000_000)];
    let (digits, factor) = units.iter().find_map(|(unit, factor)| {
        text.trim()
            .strip_suffix(unit)
            .map(|digits| (digits, factor))
    })?;
    number(digits)?.checked_mul(*factor)
}

/// Who owns which part of a space of numbers.
#[derive(Debug, Default)]
pub struct Space {
    owned: Vec<(u64, u64, String)>,
}

impl Space {
    /// Gives `first ..= last` to `owner`, unless a part of it is somebody's.
    pub fn claim(
        &mut self,
        source: &Source<'_>,
        span: Range<usize>,
        what: &str,
        range: (u64, u64),
        owner: &str,
    ) -> Result<()> {
        let (first, last) = range;
        if let Some((low, high, other)) = self
            .owned
            .iter()
            .find(|(low, high, _)| first <= *high && *low <= last)
        {
            let shared = if low == high {
                format!("{low:#x}")
            } else {
                format!("{low:#x}..={high:#x}")
            };
            return Err(source.error(
                span,
                format!("duplicate {what}: {shared} already belongs to server '{other}'"),
            ));
        }
        self.owned.push((first, last, owner.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_base() {
        assert_eq!(number("0xfee0_0000"), Some(0xfee0_0000));
        assert_eq!(number("1_000"), Some(1000));
        assert_eq!(number("x"), None);
    }

    #[test]
    fn a_range_that_runs_backwards_is_none() {
        assert_eq!(inclusive("0x20..=0x21"), Some((0x20, 0x21)));
        assert_eq!(inclusive("0x21..=0x20"), None);
        assert_eq!(inclusive("0xcf9"), Some((0xcf9, 0xcf9)));
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(bytes("256M"), Some(256 << 20));
        assert_eq!(bytes("99999999999G"), None);
        assert_eq!(microseconds("5ms"), Some(5000));
        assert_eq!(microseconds("5"), None);
    }
}
