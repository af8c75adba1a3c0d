//! Intervals and percentiles.

/// The 97.5th percentile of the normal distribution: for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of 95 % for a proportion of `hits` in `all` (E. B. Wilson, 1927): right for few cases, and for none.
#[must_use]
pub fn wilson(hits: usize, all: usize) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (all as f64, hits as f64 / all as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((centre - spread) / scale).max(0.0),
        ((centre + spread) / scale).min(1.0),
    )
}

/// The smallest value that `share` of the values do not exceed; `sorted` is in order.
#[must_use]
pub fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let place = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_one_in_the_books() {
        let close = |(low, high): (f64, f64), (wanted_low, wanted_high): (f64, f64)| {
            assert!(
                (low - wanted_low).abs() < 5e-5 && (high - wanted_high).abs() < 5e-5,
                "{low} {high}"
            );
        };
        close(wilson(0, 10), (0.0, 0.27753));
        close(wilson(10, 10), (0.72247, 1.0));
        close(wilson(81, 263), (0.25528, 0.36621));
        close(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), Some(50));
        assert_eq!(percentile(&values, 0.99), Some(99));
        assert_eq!(percentile(&values, 1.0), Some(100));
        assert_eq!(percentile(&[7], 0.01), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
