//! The frame allocator: who owns each 4 KiB of RAM.
//!
//! Never-used memory is kept as ranges, so that boot does not touch it; frames given back form a list through their own first words.
//! A frame belongs to what holds its address, which is mostly an entry of a page table.

use core::ops::Range;

use atoll_protocol::units::Hpa;

use super::direct;
use super::layout::PAGE_SIZE;

/// Most ranges of never-used memory: the memory map's, split by what is reserved.
const RANGES: usize = 32;

/// Frames on their way back: what may still read them as page tables must have been flushed before they are anything else. They are listed as
/// the free ones are; to a page-table walk the first word is then an entry that is not present.
pub(crate) struct Retired {
    first: Hpa,
    last: Hpa,
    count: u64,
}

impl Retired {
    /// No frames.
    pub(crate) const NONE: Retired = Retired {
        first: Hpa(0),
        last: Hpa(0),
        count: 0,
    };

    /// One more.
    pub(crate) fn add(&mut self, frame: Hpa) {
        // SAFETY: the frame is RAM in the direct map, and whoever owned it has given it up.
        unsafe { direct::pointer::<u64>(frame).write(self.first.0) };
        if self.count == 0 {
            self.last = frame;
        }
        self.first = frame;
        self.count += 1;
    }
}

/// The free memory of the machine.
pub(crate) struct Frames {
    /// Never used, page-aligned; ascending except for what is added late.
    ranges: [Range<u64>; RANGES],
    /// First frame of the list of those given back; 0 is none.
    list: Hpa,
    free: u64,
}

impl Frames {
    /// No memory yet.
    pub(crate) const fn new() -> Self {
        Frames {
            ranges: [const { 0..0 }; RANGES],
            list: Hpa(0),
            free: 0,
        }
    }

    /// Adds RAM except for what is `reserved`. Memory that there is no slot for is lost, and so is a rest smaller than a frame.
    pub(crate) fn add(&mut self, range: Range<Hpa>, reserved: &[Range<Hpa>]) {
        let mut start = range.start.0;
        while start < range.end.0 {
            // The next stretch up to the nearest reserved range, then on behind that.
            let Some(next) = reserved
                .iter()
                .filter(|r| r.end.0 > start && r.start < r.end)
                .min_by_key(|r| r.start)
            else {
                return self.push(start, range.end.0);
            };
            self.push(start, next.start.0.min(range.end.0));
            start = next.end.0;
        }
    }

    fn push(&mut self, start: u64, end: u64) {
        let range = start.next_multiple_of(PAGE_SIZE)..end & !(PAGE_SIZE - 1);
        if let Some(slot) = self.ranges.iter_mut().find(|slot| slot.is_empty())
            && !range.is_empty()
        {
            self.free += (range.end - range.start) / PAGE_SIZE;
            *slot = range;
        }
    }

    /// A frame of zeros.
    pub(crate) fn alloc(&mut self) -> Option<Hpa> {
        let frame = if self.list.0 != 0 {
            let frame = self.list;
            // SAFETY: the frame is RAM in the direct map, and was given back: it holds the next one's address, and nobody uses it.
            self.list = Hpa(unsafe { direct::pointer::<u64>(frame).read() });
            frame
        } else {
            let range = self.ranges.iter_mut().find(|range| !range.is_empty())?;
            range.start += PAGE_SIZE;
            Hpa(range.start - PAGE_SIZE)
        };
        self.free -= 1;
        // SAFETY: the frame is RAM in the direct map that nobody uses.
        unsafe { direct::pointer::<[u8; PAGE_SIZE as usize]>(frame).write_bytes(0, 1) };
        Some(frame)
    }

    /// Takes a frame back from its owner, who no longer uses it.
    pub(crate) fn free(&mut self, frame: Hpa) {
        // SAFETY: the frame is RAM in the direct map, and whoever owned it has given it up.
        unsafe { direct::pointer::<u64>(frame).write(self.list.0) };
        self.list = frame;
        self.free += 1;
    }

    /// Takes back all that was retired: nothing reads it any more.
    pub(crate) fn free_all(&mut self, retired: &mut Retired) {
        let Retired { first, last, count } = core::mem::replace(retired, Retired::NONE);
        if count > 0 {
            // SAFETY: the frame is RAM in the direct map, and was given up.
            unsafe { direct::pointer::<u64>(last).write(self.list.0) };
            self.list = first;
            self.free += count;
        }
    }

    /// A stretch from the top of the highest range that has room, not cleared, never given back: guest memory, at boot.
    pub(crate) fn alloc_contiguous(&mut self, bytes: u64, align: u64) -> Option<Hpa> {
        let (place, address) = self.stretch(bytes, align)?;
        let range = self.ranges[place].clone();
        self.ranges[place].end = address;
        self.free -= (range.end - address) / PAGE_SIZE;
        self.push(address + bytes, range.end);
        Some(Hpa(address))
    }

    /// Whether there is such a stretch.
    pub(crate) fn can_contiguous(&self, bytes: u64, align: u64) -> bool {
        self.stretch(bytes, align).is_some()
    }

    fn stretch(&self, bytes: u64, align: u64) -> Option<(usize, u64)> {
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE)?;
        let align = align.max(PAGE_SIZE);
        let fits = |range: &Range<u64>| {
            range
                .end
                .checked_sub(bytes)
                .map(|at| at - at % align)
                .filter(|at| *at >= range.start)
        };
        let found = self
            .ranges
            .iter()
            .enumerate()
            .filter_map(|(place, range)| fits(range).map(|at| (place, at)));
        found.max_by_key(|(_, at)| *at)
    }

    /// How many frames are left.
    pub(crate) fn free_count(&self) -> u64 {
        self.free
    }
}
