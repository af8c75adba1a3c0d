//! The guest's memory: what is RAM, what the guest is told of it, and where the loader's own tables lie.

use atoll_protocol::layout::{GAP_END, GAP_START};

use crate::refusal::Refusal;

/// The boot-time descriptor table.
pub(crate) const GDT: u64 = 0x500;
/// Boot parameters of whichever protocol: one page, with a second for what they point to.
pub(crate) const BOOT_INFO: u64 = 0x7000;
/// Page tables for the 64-bit entry: root, one table, four directories.
pub(crate) const PAGE_TABLES: u64 = 0x9000;
/// The command line.
pub(crate) const CMDLINE: u64 = 0x2_0000;
/// The command line of a kernel that wants its usual place for itself, and most bytes of it.
const OTHER_CMDLINE: u64 = 0x1000;
const OTHER_CMDLINE_MAX: u64 = 0x6000;
/// Kernels that go below 1 MiB begin here or above: what is below is the loader's.
const LOW: u64 = BOOT_INFO + PAGE;
/// Most bytes of a command line, with its NUL.
pub(crate) const CMDLINE_MAX: u64 = 0x1_0000;
/// ACPI tables: where a BIOS has its own, and where systems look for the first of them.
pub(crate) const ACPI: u64 = 0xe_0000;
/// What a BIOS would have filled: interrupt vectors and its data, and the stretch that systems search for ROMs and tables. Both are
/// cleared, so that nothing is found there but what the loader has put there.
pub(crate) const FIRMWARE: [(u64, u64); 2] = [(0, 0x1000), (0xc_0000, 0x4_0000)];
/// RAM for kernels begins here.
pub(crate) const HIGH: u64 = 0x10_0000;

/// End of the RAM below the holes.
pub(crate) const LOW_END: u64 = 0x9_fc00;
const EBDA_END: u64 = 0xa_0000;
const IOAPIC: u64 = 0xfec0_0000;
const LAPIC: u64 = 0xfee0_0000;
/// Bytes of a page.
pub(crate) const PAGE: u64 = 0x1000;

/// A stretch of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) kind: Kind,
}

/// What a stretch is, numbered as BIOS function E820, multiboot and PVH all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ram = 1,
    Reserved = 2,
}

/// The guest's RAM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ram {
    memory: u64,
}

impl Ram {
    /// So many bytes.
    pub(crate) fn new(memory: u64) -> Ram {
        Ram { memory }
    }

    /// End of the RAM below the devices' gap.
    pub(crate) fn end(self) -> u64 {
        self.memory.min(GAP_START)
    }

    /// The next page-aligned place above `floor` and 1 MiB for a module of so many bytes, and the size.
    pub(crate) fn next(self, floor: u64, size: u64) -> Result<(u64, u64), Refusal> {
        let at = floor.max(HIGH).next_multiple_of(PAGE);
        if self.holds(at, size) {
            Ok((at, size))
        } else {
            Err(Refusal::NoRoom {
                what: "a module above the kernel",
                size,
                at,
            })
        }
    }

    /// Bytes above 4 GiB.
    fn above(self) -> u64 {
        self.memory.saturating_sub(GAP_START)
    }

    /// Whether `size` bytes at `at` are RAM that kernels may use, below the holes or between 1 MiB and the gap.
    pub(crate) fn holds(self, at: u64, size: u64) -> bool {
        let ends_by = |last| at.checked_add(size).is_some_and(|end| end <= last);
        at >= HIGH && ends_by(self.end()) || at >= LOW && ends_by(LOW_END.min(self.end()))
    }

    /// The highest page-aligned place for `size` bytes between `floor` and `ceiling`.
    pub(crate) fn highest(self, size: u64, floor: u64, ceiling: u64) -> Option<u64> {
        let at = self.end().min(ceiling).checked_sub(size)? & !(PAGE - 1);
        (at >= floor.max(HIGH)).then_some(at)
    }

    /// What the guest is told, by ascending address.
    pub(crate) fn map(self) -> impl Iterator<Item = Region> {
        let region = |base, end: u64, kind| Region {
            base,
            size: end.saturating_sub(base),
            kind,
        };
        let regions = [
            region(0, LOW_END, Kind::Ram),
            region(LOW_END, EBDA_END, Kind::Reserved),
            region(ACPI, HIGH, Kind::Reserved),
            region(HIGH, self.end(), Kind::Ram),
            region(IOAPIC, IOAPIC + PAGE, Kind::Reserved),
            region(LAPIC, LAPIC + PAGE, Kind::Reserved),
            region(GAP_END, GAP_END + self.above(), Kind::Ram),
        ];
        regions.into_iter().filter(|region| region.size != 0)
    }

    /// Bytes below 640 KiB and from 1 MiB to the gap, in KiB: the two figures of multiboot and of Linux's oldest interface.
    pub(crate) fn kib(self) -> (u32, u32) {
        (
            (LOW_END >> 10) as u32,
            (self.end().saturating_sub(HIGH) >> 10) as u32,
        )
    }
}

/// Where the command line goes, and most bytes of it, beside a kernel that takes these places.
pub(crate) fn place_of_cmdline(kernel: impl IntoIterator<Item = (u64, u64)>) -> (u64, u64) {
    let in_the_way = |(at, size): (u64, u64)| at < CMDLINE + CMDLINE_MAX && at + size > CMDLINE;
    if kernel.into_iter().any(in_the_way) {
        (OTHER_CMDLINE, OTHER_CMDLINE_MAX)
    } else {
        (CMDLINE, CMDLINE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_map_is_in_order_and_its_ram_is_the_machines(pages in 1_u64..0x1_0000) {
            let memory = pages << 21;
            let ram = Ram::new(memory);
            let mut end = 0;
            let mut sum = 0;
            for region in ram.map() {
                prop_assert!(region.base >= end);
                end = region.base + region.size;
                if region.kind == Kind::Ram {
                    sum += region.size;
                    for byte in [region.base, end - 1] {
                        prop_assert!(atoll_protocol::layout::ram_offset(memory, byte).is_some());
                    }
                }
            }
            // All but the holes below 1 MiB.
            prop_assert_eq!(sum, memory - (HIGH - LOW_END));
        }
    }

    #[test]
    fn the_highest_place_respects_floor_and_ceiling() {
        let ram = Ram::new(64 << 20);
        assert_eq!(
            ram.highest(0x1801, HIGH, u64::MAX),
            Some((64 << 20) - 0x2000)
        );
        assert_eq!(ram.highest(0x1000, HIGH, 0x200_0fff), Some(0x1ff_f000));
        assert_eq!(ram.highest(0x1000, 64 << 20, u64::MAX), None);
        assert_eq!(ram.highest(65 << 20, HIGH, u64::MAX), None);
        assert!(
            ram.holds(0x8000, 0x9_7c00)
                && !ram.holds(0x7fff, 1)
                && !ram.holds(0x9_fc00, 1)
                && ram.holds(HIGH, 63 << 20)
                && !ram.holds(HIGH, 64 << 20)
                && !ram.holds(HIGH, u64::MAX)
        );
    }
}
