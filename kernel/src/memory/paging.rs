//! Four-level page tables: the walk that the kernel's and the servers' tables share.
//!
//! Tables are reached through the direct map and read one entry at a time. AMD APM vol. 2 §5.3.

use atoll_protocol::units::Hpa;
use x86_64::PhysAddr;
pub(crate) use x86_64::structures::paging::PageTableFlags;
use x86_64::structures::paging::page_table::PageTableEntry;

use super::direct;
use super::frames::Frames;
use super::layout::PAGE_SIZE;

/// Ours: the frame belongs to someone else, and is not freed with the tables.
pub(crate) const SHARED: PageTableFlags = PageTableFlags::BIT_9;
/// Uncached (PAT entry 3 at reset).
pub(crate) const UNCACHED: PageTableFlags =
    PageTableFlags::WRITE_THROUGH.union(PageTableFlags::NO_CACHE);
/// Entries of a table.
pub(crate) const ENTRIES: u64 = 512;

/// How much one entry maps, by the bits of an address within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// 4 KiB.
    Small = 12,
    /// 2 MiB.
    Large = 21,
}

impl PageSize {
    /// In bytes.
    pub(crate) const fn bytes(self) -> u64 {
        1 << self as u64
    }

    /// What tells its entry from one of a table.
    const fn flag(self) -> PageTableFlags {
        match self {
            PageSize::Small => PageTableFlags::empty(),
            PageSize::Large => PageTableFlags::HUGE_PAGE,
        }
    }
}

/// Why a mapping was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapError {
    /// Not a multiple of the page size.
    Misaligned,
    /// Not in the half that the tables are for.
    OutOfRange,
    /// Something is mapped there.
    Occupied,
    /// No memory for a table.
    NoFrames,
}

/// An entry that leads to a frame or a table.
#[inline(always)]
pub(crate) fn entry_of(to: Hpa, flags: PageTableFlags) -> PageTableEntry {
    let mut entry = PageTableEntry::new();
    entry.set_addr(PhysAddr::new_truncate(to.0).align_down(PAGE_SIZE), flags);
    entry
}

/// What an entry leads to.
#[inline(always)]
pub(crate) fn target(entry: &PageTableEntry) -> Hpa {
    Hpa(entry.addr().as_u64())
}

/// Whether an entry leads to a table, if it is not one of the last level.
#[inline(always)]
pub(super) fn is_table(entry: &PageTableEntry) -> bool {
    entry.flags() & (PageTableFlags::PRESENT | PageTableFlags::HUGE_PAGE) == PageTableFlags::PRESENT
}

/// Reads an entry of a table.
#[inline(always)]
pub(super) fn entry(table: Hpa, index: u64) -> PageTableEntry {
    // SAFETY: `table` is a table's frame, in the direct map, and the index is cut to its size.
    unsafe { direct::pointer::<PageTableEntry>(Hpa(table.0 + index % ENTRIES * 8)).read_volatile() }
}

/// Whether one of a table's eight entries around this one is in use: mostly none is, and this is how to pass them by.
#[inline(always)]
pub(super) fn any(table: Hpa, index: u64) -> bool {
    (0..8).fold(false, |any, place| {
        any | !entry(table, index & !7 | place).is_unused()
    })
}

/// Writes an entry of a table.
#[inline(always)]
pub(super) fn set_entry(table: Hpa, index: u64, entry: PageTableEntry) {
    let to = direct::pointer::<PageTableEntry>(Hpa(table.0 + index % ENTRIES * 8));
    // SAFETY: as in `entry`; tables are only written by their owner.
    unsafe { to.write_volatile(entry) }
}

/// Goes down towards `address` to a page of `size`, or as far as there are tables: the last table, what one entry of it maps as bits of
/// an address, and the entry.
#[inline(always)]
fn walk(root: Hpa, address: u64, size: PageSize) -> (Hpa, u32, PageTableEntry) {
    let (mut table, mut shift) = (root, 39);
    loop {
        let found = entry(table, address >> shift);
        if shift == size as u32 || !is_table(&found) {
            return (table, shift, found);
        }
        table = target(&found);
        shift -= 9;
    }
}

/// Maps `address` to `to`, in one page of `size`, and makes the tables on the way; these allow what any leaf allows.
#[inline(always)]
pub(crate) fn insert(
    root: Hpa,
    address: u64,
    to: Hpa,
    flags: PageTableFlags,
    size: PageSize,
    frames: &mut Frames,
) -> Result<(), MapError> {
    if !(address | to.0).is_multiple_of(size.bytes()) {
        return Err(MapError::Misaligned);
    }
    let leaf = entry_of(to, flags | PageTableFlags::PRESENT | size.flag());
    loop {
        let (table, shift, found) = walk(root, address, size);
        if found.flags().contains(PageTableFlags::PRESENT) {
            return Err(MapError::Occupied);
        }
        if shift == size as u32 {
            set_entry(table, address >> shift, leaf);
            return Ok(());
        }
        let below = frames.alloc().ok_or(MapError::NoFrames)?;
        let rights = PageTableFlags::PRESENT
            | PageTableFlags::WRITABLE
            | flags & PageTableFlags::USER_ACCESSIBLE;
        set_entry(table, address >> shift, entry_of(below, rights));
    }
}

/// The entry that maps `address` in 4 KiB, and the table that it is in.
pub(super) fn leaf(root: Hpa, address: u64) -> Option<(Hpa, PageTableEntry)> {
    let (table, shift, found) = walk(root, address, PageSize::Small);
    let mapped = shift == PageSize::Small as u32 && found.flags().contains(PageTableFlags::PRESENT);
    mapped.then_some((table, found))
}

/// What [`remove`] took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// There was nothing.
    Nothing,
    /// A leaf.
    Leaf,
    /// A table of leaves: the processor may walk it until it is flushed.
    Table(Hpa),
}

/// Takes away what maps `address`, up to a page of `size`: a leaf, a table of leaves, or the larger leaf that covers it.
pub(crate) fn remove(root: Hpa, address: u64, size: PageSize) -> Removed {
    let (table, shift, found) = walk(root, address, size);
    if !found.flags().contains(PageTableFlags::PRESENT) {
        return Removed::Nothing;
    }
    set_entry(table, address >> shift, PageTableEntry::new());
    if shift == PageSize::Large as u32 && is_table(&found) {
        Removed::Table(target(&found))
    } else {
        Removed::Leaf
    }
}

/// Takes away the leaf of 4 KiB at `address`, and the tables on the way to it that hold nothing else, which go to `take`; whether there was one.
pub(crate) fn prune(root: Hpa, address: u64, take: &mut impl FnMut(Hpa)) -> bool {
    below(root, 39, address, take)
}

fn below(table: Hpa, shift: u32, address: u64, take: &mut impl FnMut(Hpa)) -> bool {
    let found = entry(table, address >> shift);
    if shift == PageSize::Small as u32 {
        set_entry(table, address >> shift, PageTableEntry::new());
        return found.flags().contains(PageTableFlags::PRESENT);
    }
    if !is_table(&found) {
        return false;
    }
    let next = target(&found);
    let removed = below(next, shift - 9, address, take);
    if removed && !(0..ENTRIES).step_by(8).any(|first| any(next, first)) {
        set_entry(table, address >> shift, PageTableEntry::new());
        take(next);
    }
    removed
}

/// Takes away all that a table of this level, from the second up, maps; gives each table below it to `take`, after those below that one.
pub(crate) fn clear(table: Hpa, level: u32, take: &mut impl FnMut(Hpa)) {
    // Nearly all entries are empty, and the guest may be waiting for the end of this.
    let used = (0..ENTRIES).step_by(8).filter(|first| any(table, *first));
    for index in used.flat_map(|first| first..first + 8) {
        let found = entry(table, index);
        set_entry(table, index, PageTableEntry::new());
        if is_table(&found) {
            let below = target(&found);
            if level > 2 {
                clear(below, level - 1, take);
            }
            take(below);
        }
    }
}
