//! The first access to a page of memory: a nested page fault, answered with a mapping of 4 KiB. The machine has to be set up so that it
//! maps this range in small pages (`pages_4k` in the manifest of `atoll bench`).

use super::measure::{Figure, figure, nothing, ticks_of};

/// Memory that nothing else uses.
const FRESH: usize = 64 << 20;
const PAGE: usize = 4096;

/// A load from a page that was not accessed before.
pub fn demand_map() -> Figure {
    figure("demand_map", nothing(), |round| {
        let address = (FRESH + round * PAGE) as u64;
        // SAFETY: the memory is there, and nobody else's.
        unsafe { ticks_of!("mov eax, [rdi]", 0, 0, 0, address) }
    })
}
