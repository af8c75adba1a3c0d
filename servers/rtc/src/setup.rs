//! What a PC's firmware has written into the CMOS RAM: what there is, for systems that do not ask otherwise.

use atoll_protocol::layout::{GAP_END, GAP_START};

/// Equipment: there is an x87 unit; no display, no keyboard, no diskette.
const EQUIPMENT: usize = 0x14;
const X87: u8 = 1 << 1;
/// KiB of base memory.
const BASE: usize = 0x15;
/// KiB from 1 MiB on, once as tested and once as set up.
const EXTENDED: [usize; 2] = [0x17, 0x30];
/// The sum of locations 0x10 to 0x2d, high byte first.
const SUM: usize = 0x2e;
/// Pieces of 64 KiB from 16 MiB to 4 GiB (QEMU's and Bochs').
const ABOVE_16M: usize = 0x34;
/// Pieces of 64 KiB from 4 GiB on, three bytes.
const ABOVE_4G: usize = 0x5b;

const MIB: u64 = 1 << 20;

/// The RAM of a machine with so many bytes of memory.
pub(crate) fn ram(memory: u64) -> [u8; 128] {
    let mut ram = [0; 128];
    let (low, high) = (memory.min(GAP_START), memory.saturating_sub(GAP_START));
    let half = |value: u64| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = ram.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(EQUIPMENT, &[X87]);
    put(BASE, &half(640));
    for at in EXTENDED {
        put(at, &half(low.saturating_sub(MIB) >> 10));
    }
    put(ABOVE_16M, &half(low.saturating_sub(16 * MIB) >> 16));
    let [first, second, third, ..] = (high >> 16).to_le_bytes();
    put(ABOVE_4G, &[first, second, third]);
    let sum: u16 = ram[0x10..SUM].iter().map(|byte| u16::from(*byte)).sum();
    if let Some(place) = ram.get_mut(SUM..SUM + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    ram
}

const _: () = assert!(
    GAP_END == 4 << 30,
    "what lies above the gap begins at 4 GiB"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn half(ram: &[u8; 128], at: usize) -> u16 {
        u16::from_le_bytes([ram[at], ram[at + 1]])
    }

    #[test]
    fn the_sizes_of_memory_are_there() {
        let ram = ram(256 * MIB);
        assert_eq!(half(&ram, BASE), 640);
        assert_eq!(EXTENDED.map(|at| half(&ram, at)), [u16::MAX; 2]);
        assert_eq!(half(&ram, ABOVE_16M), 240 * 16);
        assert_eq!(ram[ABOVE_4G..][..3], [0; 3]);
        let small = super::ram(32 * MIB);
        assert_eq!(EXTENDED.map(|at| half(&small, at)), [31 * 1024; 2]);
    }

    #[test]
    fn memory_above_four_gibibytes_is_counted_apart() {
        let ram = ram(GAP_START + (1 << 30));
        assert_eq!(half(&ram, ABOVE_16M), ((GAP_START - 16 * MIB) >> 16) as u16);
        assert_eq!(ram[ABOVE_4G..][..3], [0, 0x40, 0]);
    }

    #[test]
    fn the_sum_is_right() {
        let ram = ram(64 * MIB);
        let sum: u16 = ram[0x10..0x2e].iter().map(|byte| u16::from(*byte)).sum();
        assert_eq!(u16::from_be_bytes([ram[SUM], ram[SUM + 1]]), sum);
    }
}
