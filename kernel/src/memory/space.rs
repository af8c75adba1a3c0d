//! A server's address space: the lower half is its own, the upper half is the kernel's, so that an activation changes CR3 once and an
//! answer not at all.
//!
//! Frames mapped with [`Space::map`] belong to the space and go with it; windows ([`Space::map_shared`], [`Space::map_window`]) do not.
//! No page is both writable and executable. Mappings change while their server does not run. One that is added needs nothing more, since
//! the processor keeps nothing of what is not mapped (APM vol. 2 §5.5.1); one that is changed makes a new [`Generation`], and a core that
//! had loaded the one before loads the space again, which flushes.

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_protocol::units::Hpa;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
#[cfg(feature = "fault-injection")]
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PhysFrame};

use super::direct;
use super::frames::Frames;
use super::layout::PAGE_SIZE;
use super::paging::{self, ENTRIES, PageTableFlags, SHARED};
pub(crate) use super::paging::{MapError, PageSize};
use super::physical::Physical;

/// First index of the kernel's half in the top table.
const KERNEL_HALF: u64 = ENTRIES / 2;
/// End of the servers' half; the last page stays empty, so that no `SYSCALL` is followed by a non-canonical address.
const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// The kernel's own top table, whose upper half all spaces share. Its entries do not change any more once there is a space.
pub(crate) static KERNEL_ROOT: Physical<PageTable> = Physical::new(PageTable::new());

/// A space as it was between two changes: no two have the same, whatever space they are of, so that a core need not compare CR3 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u64);

impl Generation {
    /// Of the kernel's own tables.
    pub(crate) const KERNEL: Generation = Generation(0);

    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(Generation::KERNEL.0);
        Generation(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The cores, any of which may have loaded a space.
pub(crate) trait Loaders {
    /// Has every core leave the space that it has loaded.
    fn unload(&self);
}

/// Takes the core to the kernel's own tables, from those of boot or from any space.
pub(crate) fn load_kernel() {
    let kernel = PhysFrame::containing_address(PhysAddr::new(KERNEL_ROOT.address().0));
    // SAFETY: they map the kernel's code, data and stacks where they are now, and the direct map, as all tables do.
    unsafe { Cr3::write(kernel, Cr3Flags::empty()) };
}

/// What a server may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read and execute.
    Execute,
}

impl Access {
    const fn flags(self) -> PageTableFlags {
        match self {
            Access::Read => PageTableFlags::NO_EXECUTE,
            Access::Write => PageTableFlags::WRITABLE.union(PageTableFlags::NO_EXECUTE),
            Access::Execute => PageTableFlags::empty(),
        }
    }
}

/// An address space; to be given back with [`Space::destroy`].
#[derive(Debug)]
pub(crate) struct Space {
    root: Hpa,
    generation: Generation,
}

impl Space {
    /// An empty one.
    pub(crate) fn new(frames: &mut Frames) -> Option<Self> {
        let root = frames.alloc()?;
        for index in KERNEL_HALF..ENTRIES {
            paging::set_entry(root, index, paging::entry(KERNEL_ROOT.address(), index));
        }
        Some(Space {
            root,
            generation: Generation::next(),
        })
    }

    /// What goes into CR3.
    #[inline(always)]
    pub(crate) fn cr3(&self) -> u64 {
        self.root.0
    }

    /// Which of its generations this is.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Maps a new frame of zeros, which the space owns; gives its address.
    pub(crate) fn map(
        &mut self,
        address: u64,
        access: Access,
        frames: &mut Frames,
    ) -> Result<Hpa, MapError> {
        let frame = frames.alloc().ok_or(MapError::NoFrames)?;
        let result = self.insert(address, frame, access.flags(), PageSize::Small, frames);
        result.inspect_err(|_| frames.free(frame)).map(|()| frame)
    }

    /// Maps 4 KiB that belong to someone else, who outlives the space.
    pub(crate) fn map_shared(
        &mut self,
        address: u64,
        to: Hpa,
        access: Access,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        self.insert(
            address,
            to,
            access.flags() | SHARED,
            PageSize::Small,
            frames,
        )
    }

    /// Maps a stretch read-only that belongs to someone else (guest memory, the bundle), in pages of one size. The last page is mapped
    /// whole.
    pub(crate) fn map_window(
        &mut self,
        address: u64,
        to: Hpa,
        bytes: u64,
        size: PageSize,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        for page in (0..bytes).step_by(size.bytes() as usize) {
            self.insert(
                address + page,
                Hpa(to.0 + page),
                Access::Read.flags() | SHARED,
                size,
                frames,
            )?;
        }
        Ok(())
    }

    /// The page at `address`, to write, if the space owns one there.
    pub(crate) fn page_mut(&mut self, address: u64) -> Option<&mut [u8; PAGE_SIZE as usize]> {
        let (_, found) = paging::leaf(self.root, address)
            .filter(|(_, found)| !found.flags().contains(SHARED))?;
        // SAFETY: the frame is RAM in the direct map; the space owns it, is borrowed exclusively, and its server does not run now.
        Some(unsafe { &mut *direct::pointer(paging::target(&found)) })
    }

    /// The pages that the space owns in its first 512 GiB: where they are mapped, whether they can be executed, and their frames.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn own_pages(&self) -> impl Iterator<Item = (u64, bool, Hpa)> {
        let below = |table: PageTableEntry| {
            let there = paging::is_table(&table);
            (0..ENTRIES)
                .filter(move |_| there)
                .map(move |index| (index, paging::entry(paging::target(&table), index)))
                .filter(|(_, found)| paging::is_table(found) && !found.flags().contains(SHARED))
        };
        below(paging::entry(self.root, 0)).flat_map(move |(high, second)| {
            below(second).flat_map(move |(middle, first)| {
                below(first).map(move |(low, page)| {
                    (
                        high << 30 | middle << 21 | low << 12,
                        !page.flags().contains(PageTableFlags::NO_EXECUTE),
                        paging::target(&page),
                    )
                })
            })
        })
    }

    /// Lets a page that belongs to someone else be another one of theirs: a new generation of the space.
    pub(crate) fn redirect(&mut self, address: u64, to: Hpa) {
        if let Some((table, found)) =
            paging::leaf(self.root, address).filter(|(_, found)| found.flags().contains(SHARED))
        {
            let entry = paging::entry_of(to, found.flags());
            paging::set_entry(table, address / PAGE_SIZE, entry);
            self.generation = Generation::next();
        }
    }

    fn insert(
        &mut self,
        address: u64,
        to: Hpa,
        flags: PageTableFlags,
        size: PageSize,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        if address
            .checked_add(size.bytes())
            .is_none_or(|end| end > USER_END)
        {
            return Err(MapError::OutOfRange);
        }
        let flags = flags | PageTableFlags::USER_ACCESSIBLE;
        paging::insert(self.root, address, to, flags, size, frames)
    }

    /// Gives back the tables and the frames that the space owns.
    pub(crate) fn destroy(self, cores: &impl Loaders, frames: &mut Frames) {
        cores.unload();
        release(self.root, 4, KERNEL_HALF, frames);
    }
}

/// Gives back a table of a level with what its first `count` entries own; that is not what is shared.
fn release(table: Hpa, level: u32, count: u64, frames: &mut Frames) {
    // Nearly all entries are empty, and the guest may be waiting for the end of this.
    let used = (0..count)
        .step_by(8)
        .filter(|first| paging::any(table, *first));
    for index in used.flat_map(|first| first..first + 8) {
        let found = paging::entry(table, index);
        if paging::is_table(&found) && !found.flags().contains(SHARED) {
            match paging::target(&found) {
                page if level == 1 => frames.free(page),
                below => release(below, level - 1, ENTRIES, frames),
            }
        }
    }
    frames.free(table);
}
