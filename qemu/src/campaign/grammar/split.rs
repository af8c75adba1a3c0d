//! A fault that happens often, as several that happen less often.

use super::{Fault, Schedule};

impl Fault {
    /// The same fault in at most `parts` pieces, each of which happens at some of the `hits` messages that it happened at. What cannot be
    /// cut, or happened once, stays whole.
    #[must_use]
    pub fn split(&self, hits: u32, parts: u32) -> Vec<Fault> {
        let size = hits.div_ceil(parts.max(1)).max(1);
        let piece = |at: u32| {
            let (limit, skipped) = (size.min(hits - at), u64::from(at));
            match self.schedule {
                Schedule::Every { every, from } => {
                    let from = from.saturating_add(every.saturating_mul(skipped));
                    let schedule = if limit == 1 {
                        Schedule::Nth(from)
                    } else {
                        Schedule::Every { every, from }
                    };
                    Fault {
                        schedule,
                        limit,
                        ..self.clone()
                    }
                }
                Schedule::OneOf { of, from } => {
                    let schedule = Schedule::OneOf {
                        of,
                        from: from.saturating_add(of.saturating_mul(skipped)),
                    };
                    // Each part's draw is that of the seed and the part's number.
                    Fault {
                        schedule,
                        limit,
                        seed: self.seed.wrapping_add(skipped),
                        ..self.clone()
                    }
                }
                Schedule::Nth(_) | Schedule::Chance(_) => self.clone(),
            }
        };
        match self.schedule {
            Schedule::Every { .. } | Schedule::OneOf { .. } if hits > 1 => {
                (0..hits).step_by(size as usize).map(piece).collect()
            }
            _ => vec![self.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, hits: u32, parts: u32) -> Vec<String> {
        let fault: Fault = text.parse().unwrap();
        fault
            .split(hits, parts)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_pieces_hit_what_the_whole_hits() {
        assert_eq!(
            pieces("crash uart every=3 from=2 limit=5", 5, 2),
            [
                "crash uart every=3 from=2 limit=3",
                "crash uart every=3 from=11 limit=2"
            ]
        );
        assert_eq!(
            pieces("crash uart every=3 from=2 limit=3", 3, 9),
            [
                "crash uart nth=2 limit=1",
                "crash uart nth=5 limit=1",
                "crash uart nth=8 limit=1"
            ]
        );
        assert_eq!(
            pieces("hang pit one-of=10 limit=4 seed=7", 4, 2),
            [
                "hang pit one-of=10 from=1 limit=2 seed=7",
                "hang pit one-of=10 from=21 limit=2 seed=9"
            ]
        );
    }

    #[test]
    fn what_happens_once_or_by_chance_stays_whole() {
        assert_eq!(pieces("crash uart nth=5", 1, 4), ["crash uart nth=5"]);
        assert_eq!(
            pieces("crash uart every=3", 1, 4),
            ["crash uart every=3 from=3"]
        );
        assert_eq!(pieces("crash uart p=0.5", 9, 4), ["crash uart p=0.5"]);
    }
}
