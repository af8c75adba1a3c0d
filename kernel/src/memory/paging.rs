//! Four-level page tables: the walk that the kernel's and the servers' tables share.
//!
//! Tables are reached through the direct map and read one entry at a time. AMD APM vol. 2 §5.3.

use atoll_protocol::units::Hpa;

use super::direct;
use super::frames::Frames;

/// Entry bit: valid.
pub(crate) const PRESENT: u64 = 1;
/// Entry bit: writable.
pub(crate) const WRITE: u64 = 1 << 1;
/// Entry bit: ring 3 may use it.
pub(crate) const USER: u64 = 1 << 2;
/// Entry bits: uncached (PWT and PCD: PAT entry 3 at reset).
pub(crate) const NO_CACHE: u64 = 1 << 3 | 1 << 4;
/// Entry bit: a 2 MiB page, in the third level.
pub(crate) const LARGE: u64 = 1 << 7;
/// Entry bit, ours: the frame belongs to someone else, and is not freed with the tables.
pub(crate) const SHARED: u64 = 1 << 9;
/// Entry bit: not executable.
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// The address in an entry.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
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

/// Reads an entry of a table.
#[inline(always)]
pub(super) fn entry(table: Hpa, index: u64) -> u64 {
    // SAFETY: `table` is a table's frame, in the direct map, and the index is cut to its size.
    unsafe { direct::pointer::<u64>(Hpa(table.0 + index % ENTRIES * 8)).read_volatile() }
}

/// Whether one of a table's eight entries around this one is in use: mostly none is, and this is how to pass them by.
#[inline(always)]
pub(super) fn any(table: Hpa, index: u64) -> bool {
    (0..8).fold(0, |all, place| all | entry(table, index & !7 | place)) != 0
}

/// Writes an entry of a table.
#[inline(always)]
pub(super) fn set_entry(table: Hpa, index: u64, entry: u64) {
    // SAFETY: as in `entry`; tables are only written by their owner.
    unsafe { direct::pointer::<u64>(Hpa(table.0 + index % ENTRIES * 8)).write_volatile(entry) }
}

/// Goes down towards `address` to a page of `size`, or as far as there are tables: the last table, what one entry of it maps as bits of
/// an address, and the entry.
#[inline(always)]
fn walk(root: Hpa, address: u64, size: PageSize) -> (Hpa, u32, u64) {
    let (mut table, mut shift) = (root, 39);
    loop {
        let found = entry(table, address >> shift);
        if shift == size as u32 || found & PRESENT == 0 || found & LARGE != 0 {
            return (table, shift, found);
        }
        table = Hpa(found & ADDRESS);
        shift -= 9;
    }
}

/// Puts `leaf` where `address` is looked up, and makes the tables on the way; these allow what any leaf allows.
pub(crate) fn insert(
    root: Hpa,
    address: u64,
    leaf: u64,
    size: PageSize,
    frames: &mut Frames,
) -> Result<(), MapError> {
    if !(address | leaf & ADDRESS).is_multiple_of(size.bytes()) {
        return Err(MapError::Misaligned);
    }
    loop {
        let (table, shift, found) = walk(root, address, size);
        if found & PRESENT != 0 {
            return Err(MapError::Occupied);
        }
        if shift == size as u32 {
            set_entry(table, address >> shift, leaf);
            return Ok(());
        }
        let below = frames.alloc().ok_or(MapError::NoFrames)?;
        set_entry(
            table,
            address >> shift,
            below.0 | PRESENT | WRITE | (leaf & USER),
        );
    }
}

/// The entry that maps `address` in 4 KiB, and the table that it is in.
pub(super) fn leaf(root: Hpa, address: u64) -> Option<(Hpa, u64)> {
    let (table, shift, found) = walk(root, address, PageSize::Small);
    (shift == PageSize::Small as u32 && found & PRESENT != 0).then_some((table, found))
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
    if found & PRESENT == 0 {
        return Removed::Nothing;
    }
    set_entry(table, address >> shift, 0);
    match Hpa(found & ADDRESS) {
        below if shift == PageSize::Large as u32 && found & LARGE == 0 => Removed::Table(below),
        _ => Removed::Leaf,
    }
}

/// Takes away all that a table of this level, from the second up, maps; gives each table below it to `take`, after those below that one.
pub(crate) fn clear(table: Hpa, level: u32, take: &mut impl FnMut(Hpa)) {
    // Nearly all entries are empty, and the guest may be waiting for the end of this.
    let used = (0..ENTRIES).step_by(8).filter(|first| any(table, *first));
    for index in used.flat_map(|first| first..first + 8) {
        let found = entry(table, index);
        set_entry(table, index, 0);
        if found & PRESENT != 0 && found & LARGE == 0 {
            let below = Hpa(found & ADDRESS);
            if level > 2 {
                clear(below, level - 1, take);
            }
            take(below);
        }
    }
}
