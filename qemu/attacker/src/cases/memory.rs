//! Memory that comes and goes: what is mapped holds what was written, and what is not faults.

use std::collections::BTreeMap;

use nix::libc::user_regs_struct;
use nix::sys::signal::Signal;

use super::{Ground, expect};
use crate::puppet::{CODE, INT3, Puppet, Stop, Wrong};

const MMAP: u64 = 9;
const MPROTECT: u64 = 10;
const MUNMAP: u64 = 11;
const MADVISE: u64 = 28;
/// Where, and how many pages.
const PLACE: u64 = 0x6000_0000;
const PAGES: u64 = 96;
const PAGE: u64 = 4096;
/// What is done in a round.
const DEEDS: usize = 120;
/// Bytes of the largest block.
const BLOCK: u64 = 6 << 20;

/// A page: what its first word is, and whether it can be written.
type Page = (u64, bool);

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    pages(ground)?;
    blocks(ground)
}

fn pages(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let puppet = Puppet::new()?;
    let mut known: BTreeMap<u64, Page> = BTreeMap::new();
    for _ in 0..DEEDS {
        let first = ground.dice.below(PAGES);
        let count = 1 + ground.dice.below((PAGES - first).min(24));
        let range = first..first + count;
        let (at, length) = (PLACE + first * PAGE, count * PAGE);
        match ground.dice.below(8) {
            0 | 1 => {
                // Private, anonymous, there.
                expect(
                    "mmap",
                    puppet.call(MMAP, [at, length, 3, 0x32, u64::MAX, 0])?,
                    at as i64,
                )?;
                known.extend(range.map(|page| (page, (0, true))));
            }
            2 => {
                expect("munmap", puppet.call(MUNMAP, [at, length, 0, 0, 0, 0])?, 0)?;
                known.retain(|page, _| !range.contains(page));
            }
            3 if range.clone().all(|page| known.contains_key(&page)) => {
                let writable = ground.dice.below(2);
                expect(
                    "mprotect",
                    puppet.call(MPROTECT, [at, length, 1 | writable << 1, 0, 0, 0])?,
                    0,
                )?;
                known
                    .range_mut(range)
                    .for_each(|(_, page)| page.1 = writable == 1);
            }
            4 if range.clone().all(|page| known.contains_key(&page)) => {
                expect(
                    "madvise",
                    puppet.call(MADVISE, [at, length, 4, 0, 0, 0])?,
                    0,
                )?;
                known.range_mut(range).for_each(|(_, page)| page.0 = 0);
            }
            _ => touch(ground, &puppet, &mut known, first)?,
        }
    }
    for page in 0..PAGES {
        touch(ground, &puppet, &mut known, page)?;
    }
    Ok(())
}

/// Reads a page's first word, then writes another: as what is known of it allows.
fn touch(
    ground: &mut Ground<'_>,
    puppet: &Puppet,
    known: &mut BTreeMap<u64, Page>,
    page: u64,
) -> Result<(), Wrong> {
    let value = ground.dice.any();
    // mov rax, [rdi]; mov [rdi], rcx; int3
    puppet.load(&[0x48, 0x8b, 0x07, 0x48, 0x89, 0x0f, INT3])?;
    puppet.set(user_regs_struct {
        rdi: PLACE + page * PAGE,
        rcx: value,
        ..puppet.fresh()
    })?;
    let stop = puppet.run()?;
    let registers = puppet.registers()?;
    let (signal, at) = match known.get_mut(&page) {
        None => (Signal::SIGSEGV, CODE),
        Some((word, writable)) => {
            expect(&format!("page {page}"), registers.rax, *word)?;
            if *writable {
                *word = value;
            }
            if *writable {
                (Signal::SIGTRAP, CODE + 7)
            } else {
                (Signal::SIGSEGV, CODE + 3)
            }
        }
    };
    let is = matches!(stop, Stop::Signal(other, _) if other == signal) && registers.rip == at;
    if is {
        Ok(())
    } else {
        Err(format!(
            "page {page}: {stop} at {:#x}, not {signal} at {at:#x}",
            registers.rip
        ))
    }
}

/// Blocks of its own, of which some are given back before others.
fn blocks(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut blocks: Vec<(u64, Vec<u64>)> = Vec::new();
    for _ in 0..16 {
        if blocks.len() > 2 {
            let place = ground.dice.below(blocks.len() as u64) as usize;
            let (seed, block) = blocks.swap_remove(place);
            let whole = (seed..)
                .zip(&block)
                .all(|(number, word)| number.wrapping_mul(31) == *word);
            expect("whether a block is as it was", whole, true)?;
        }
        let (seed, length) = (ground.dice.any() >> 8, ground.dice.below(BLOCK / 8));
        blocks.push((
            seed,
            (seed..)
                .take(length as usize)
                .map(|number| number.wrapping_mul(31))
                .collect(),
        ));
    }
    Ok(())
}
