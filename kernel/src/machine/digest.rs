//! Digests of what no server may touch (feature `digest`): each committed vault, guest memory, the vCPU's registers. Tests of containment
//! compare them with those of a run in which the server did nothing before it was faulted.
//!
//! Not a cryptographic digest: nobody here looks for collisions. Each step is a bijection of the digest so far, so that two contents
//! which differ in one word never have the same digest.

use atoll_core::vcpu::Vcpu;
use atoll_protocol::PAGE;
use atoll_protocol::units::Hpa;
use zerocopy::IntoBytes;

use super::guest::Guest;
use super::server::Memory;
use crate::memory::direct;

/// FNV-1a's numbers for 64 bits, here used on words.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const FACTOR: u64 = 0x0100_0000_01b3;

/// Logs all of them.
pub(super) fn log(when: &str, vcpu: &Vcpu, guest: Guest, memories: &[Memory]) {
    let save = vcpu
        .vmcb
        .save
        .as_bytes()
        .iter()
        .map(|byte| u64::from(*byte));
    crate::log!(
        "digest {when}: vcpu {:#018x}",
        of(START, vcpu.general.iter().copied().chain(save))
    );
    crate::log!(
        "digest {when}: guest memory {:#018x}",
        of(START, words(guest.base, guest.size))
    );
    for (number, memory) in memories
        .iter()
        .enumerate()
        .filter(|(_, memory)| memory.vault > 0)
    {
        let mut digest = START;
        let mut left = memory.vault;
        for page in memory.committed.iter().take_while(|page| page.0 != 0) {
            let bytes = left.min(PAGE as u64);
            digest = of(digest, words(*page, bytes));
            left -= bytes;
        }
        crate::log!("digest {when}: vault {number} {digest:#018x}");
    }
}

fn of(start: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(start, |digest, word| {
        (digest ^ word).wrapping_mul(FACTOR).rotate_left(29)
    })
}

/// The words of a stretch of memory.
fn words(from: Hpa, bytes: u64) -> impl Iterator<Item = u64> {
    // SAFETY: whoever calls names a committed copy or guest memory, which nobody writes while the kernel runs.
    unsafe {
        core::slice::from_raw_parts(
            direct::pointer::<u64>(from),
            bytes as usize / size_of::<u64>(),
        )
    }
    .iter()
    .copied()
}
