//! What everything costs in frames of 4 KiB. The kernel checks an answer with these functions before it promises anything, and takes
//! exactly as much; the supervisor keeps its accounts with the same ones, so that it asks for nothing that is not there.

use crate::effect::Segment;
use crate::grant::{Grant, Limits};
use crate::layout::{self, GAP_START};
use crate::{LINE, PAGE};

const FRAME: u64 = PAGE as u64;
/// What one table of each level maps: of leaves, of those, and of those.
const LEAVES: u64 = 2 << 20;
const MIDDLE: u64 = 1 << 30;
const HIGH: u64 = 512 << 30;

/// The tables that every address space has: its root, one below it, and what the pages of the conversation, the vault and the stack are
/// entered in.
const TABLES: u64 = 4;
const _: () = assert!(
    layout::MESSAGE.is_multiple_of(LEAVES) && layout::STACK_TOP == layout::MESSAGE + LEAVES
);
const _: () = assert!(
    layout::VAULT > layout::SABOTAGE && layout::VAULT + layout::VAULT_MAX <= layout::STACK_TOP
);
const _: () = assert!(layout::IMAGE_END <= MIDDLE && layout::STACK_TOP <= 2 * MIDDLE);

/// A server of these limits, beside its segments and windows.
#[must_use]
pub fn of_server(limits: &Limits) -> u64 {
    let vault = (u64::from(limits.vault_lines) * LINE as u64).div_ceil(FRAME);
    TABLES + u64::from(limits.stack_pages) + 2 * vault
}

/// A segment of an image; `end` is where the one before ends, 0 if it is the first.
#[must_use]
pub fn of_segment(end: u64, segment: &Segment) -> u64 {
    let last = segment.address.saturating_add(segment.memory.max(1) - 1);
    let tables = (last / LEAVES)
        .saturating_sub(segment.address / LEAVES)
        .saturating_add(1);
    let tables = match end.checked_sub(1) {
        // The table of tables comes with the first.
        None => tables.saturating_add(1),
        Some(before) => {
            tables.saturating_sub(u64::from(before / LEAVES == segment.address / LEAVES))
        }
    };
    segment.memory.div_ceil(FRAME).saturating_add(tables)
}

/// The first page behind a segment.
#[must_use]
pub fn end_of(segment: &Segment) -> u64 {
    segment
        .address
        .saturating_add(segment.memory)
        .checked_next_multiple_of(FRAME)
        .unwrap_or(u64::MAX)
}

/// All segments of an image, in ascending order.
#[must_use]
pub fn of_image<'s>(segments: impl IntoIterator<Item = &'s Segment>) -> u64 {
    let add = |(end, frames): (u64, u64), segment| {
        (
            end_of(segment),
            frames.saturating_add(of_segment(end, segment)),
        )
    };
    segments.into_iter().fold((0, 0), add).1
}

/// A right, on a machine with so many bytes of guest memory and of bundle: tables for what is mapped. Guest memory is mapped in large
/// pages, the bundle, which lies anywhere, in small ones.
#[must_use]
pub fn of_grant(grant: Grant, memory: u64, bundle: u64) -> u64 {
    let window = |bytes: u64| bytes.div_ceil(HIGH) + bytes.div_ceil(MIDDLE);
    match grant {
        Grant::GuestRead => window(memory),
        Grant::Bundle => window(bundle) + bundle.div_ceil(LEAVES),
        _ => 0,
    }
}

/// Guest memory of so many bytes.
#[must_use]
pub fn of_memory(bytes: u64) -> u64 {
    bytes.div_ceil(FRAME)
}

/// Tables for the pages that stand in for others while the guest executes one instruction.
const STAND_INS: u64 = 3 * crate::STAND_INS as u64;

/// All nested tables that guest memory of so many bytes can ever need, beside their root: they are set aside with it, so that a mapping
/// never finds none.
#[must_use]
pub fn of_nested(bytes: u64) -> u64 {
    let (low, high) = (bytes.min(GAP_START), bytes.saturating_sub(GAP_START));
    // What lies above the gap begins at 4 GiB, in the first table of its level.
    let end = if high == 0 {
        low
    } else {
        layout::GAP_END.saturating_add(high)
    };
    low.div_ceil(LEAVES)
        + high.div_ceil(LEAVES)
        + low.div_ceil(MIDDLE)
        + high.div_ceil(MIDDLE)
        + end.div_ceil(HIGH)
        + STAND_INS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Tables that mapping these pages of 4 KiB (or 2 MiB) takes, beside the root.
    fn tables(pages: impl IntoIterator<Item = u64>, large: bool) -> BTreeSet<(u64, u64)> {
        let levels: &[u64] = if large {
            &[MIDDLE, HIGH]
        } else {
            &[LEAVES, MIDDLE, HIGH]
        };
        pages
            .into_iter()
            .flat_map(|page| levels.iter().map(move |level| (*level, page / level)))
            .collect()
    }

    fn pages(start: u64, bytes: u64) -> impl Iterator<Item = u64> {
        (start..start + bytes).step_by(PAGE)
    }

    #[test]
    fn a_server_without_an_image_has_the_tables_of_its_conversation_vault_and_stack() {
        for (vault_lines, stack_pages, vault) in [
            (0, 1, 0),
            (1, 64, 1),
            (64, 2, 1),
            (65, 2, 2),
            (4096, 64, 64),
        ] {
            let limits = Limits {
                vault_lines,
                stack_pages,
                budget_us: 1,
                period_us: 1,
                timers: 0,
            };
            let stack = u64::from(stack_pages) * FRAME;
            let all = pages(layout::MESSAGE, FRAME)
                .chain(pages(layout::ANSWER, FRAME))
                .chain(pages(layout::SABOTAGE, FRAME));
            let all = all
                .chain(pages(layout::VAULT, vault * FRAME))
                .chain(pages(layout::STACK_TOP - stack, stack));
            // The table of tables for images is counted with the first segment.
            let root = 1;
            assert_eq!(
                of_server(&limits),
                root + tables(all, false).len() as u64 + u64::from(stack_pages) + 2 * vault
            );
        }
    }

    proptest! {
        #[test]
        fn an_image_costs_its_pages_and_their_tables(parts in proptest::collection::vec((0_u64..2000, 1_u64..8_000_000), 1..6)) {
            let (mut segments, mut at, mut all) = (Vec::new(), layout::IMAGE, Vec::new());
            for (gap, memory) in parts {
                let address = at + gap * FRAME;
                segments.push(Segment { address, memory, ..Segment::default() });
                all.extend(pages(address, memory));
                at = end_of(&segments[segments.len() - 1]);
            }
            // The highest table is the one that every server has.
            prop_assert_eq!(of_image(&segments), (all.len() + tables(all, false).len() - 1) as u64);
        }

        #[test]
        fn windows_cost_their_tables(units in 1_u64..3000, odd in 0_u64..2048, bundle in 1_u64..100_000_000) {
            let memory = units * LEAVES;
            let large = tables((layout::GUEST..layout::GUEST + memory).step_by(LEAVES as usize), true);
            prop_assert_eq!(of_grant(Grant::GuestRead, memory, odd), large.len() as u64);
            let small = tables(pages(layout::BUNDLE, bundle), false);
            prop_assert_eq!(of_grant(Grant::Bundle, odd, bundle), small.len() as u64);
        }

        #[test]
        fn nested_tables_suffice_for_every_page_of_guest_memory(units in 1_u64..20_000) {
            let bytes = units * LEAVES;
            let gpas = (0..GAP_START).chain(layout::GAP_END..).step_by(LEAVES as usize).take_while(|gpa| {
                layout::ram_offset(bytes, *gpa).is_some() || *gpa == GAP_START
            });
            prop_assert_eq!(of_nested(bytes), tables(gpas, false).len() as u64 + STAND_INS);
        }
    }

    #[test]
    fn nothing_that_makes_no_sense_overflows() {
        let wild = Segment {
            address: u64::MAX,
            memory: u64::MAX,
            file: 0,
            offset: 0,
            access: 0,
        };
        assert!(of_segment(0, &wild) > 1 << 40 && of_image([&wild, &wild]) > 1 << 40);
        assert!(
            of_memory(u64::MAX) > 1 << 40
                && of_nested(u64::MAX) > 1 << 40
                && of_grant(Grant::Bundle, 0, u64::MAX) > 1 << 40
        );
    }
}
