//! What the answers of a run were, and what became of them.

use std::collections::BTreeMap;

use super::effects::{KINDS, SUPERVISES};

/// Kinds of effects, the supervisor's own behind the others.
const ALL: usize = KINDS.len() + SUPERVISES.len();

/// The counts of a run.
pub(crate) struct Tally {
    /// Answers whose bytes went through the kernel.
    pub(crate) answers: u64,
    /// Of these, how many decode.
    pub(crate) decoded: u64,
    /// How many were committed.
    pub(crate) committed: u64,
    /// How many were asked again: registers, or a conflict.
    pub(crate) again: u64,
    /// Kinds of effects in what decodes, by tag; the supervisor's own behind them.
    pub(crate) met: [u64; ALL],
    /// The same in what was committed.
    pub(crate) carried_out: [u64; ALL],
    /// Reasons for rejection, by name.
    pub(crate) reasons: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) const NONE: Tally = Tally {
        answers: 0,
        decoded: 0,
        committed: 0,
        again: 0,
        met: [0; ALL],
        carried_out: [0; ALL],
        reasons: BTreeMap::new(),
    };

    /// The name of a kind.
    pub(crate) fn name(kind: usize) -> &'static str {
        KINDS
            .iter()
            .chain(&SUPERVISES)
            .nth(kind)
            .copied()
            .unwrap_or("?")
    }
}

/// Kinds of the effects of an answer, in order; the first byte that does not decode ends them.
pub(crate) fn kinds(bytes: &[u8]) -> (Vec<usize>, bool) {
    use atoll_protocol::effect::Effect;
    let mut kinds = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok((_, after)) = postcard::take_from_bytes::<Effect<'_>>(rest) else {
            return (kinds, false);
        };
        let (tag, inner) = postcard::take_from_bytes::<u32>(rest).unwrap_or((0, rest));
        kinds.push(tag as usize);
        if KINDS.get(tag as usize) == Some(&"Supervise") {
            let (inner, _) = postcard::take_from_bytes::<u32>(inner).unwrap_or((0, rest));
            kinds.push(KINDS.len() + inner as usize);
        }
        rest = after;
    }
    (kinds, true)
}
