//! The System Management BIOS tables (DMTF DSP0134, version 2.8): what the machine calls itself.

use crate::placer::Placer;

/// Where systems look for it: on a paragraph between F000:0000 and the end of the first mebibyte.
const ENTRY: u64 = 0xf_1000;
const TABLE: u64 = 0xf_1020;
const CAPACITY: usize = 512;

/// BIOS information, system information, system enclosure, end of table.
const BIOS: u8 = 0;
const SYSTEM: u8 = 1;
const ENCLOSURE: u8 = 3;
const END: u8 = 127;
/// The BIOS's characteristics are not supported; in the extension: this is a virtual machine.
const NO_CHARACTERISTICS: u64 = 1 << 3;
const VIRTUAL: u8 = 1 << 4;

const VENDOR: &[u8] = b"Atoll\0";
const VERSION: &[u8] = b"1\0";
const DATE: &[u8] = b"01/01/2026\0";
const PRODUCT: &[u8] = b"Atoll virtual machine\0";

/// Places both.
pub(crate) fn place(placer: &mut Placer<'_, '_>) {
    let mut table = Table::default();
    let [a, b, c, d, e, f, g, h] = NO_CHARACTERISTICS.to_le_bytes();
    // Vendor, version, segment, date, size, characteristics, two of the extension, releases.
    table.structure(
        BIOS,
        &[
            1, 2, 0, 0xf0, 3, 0, a, b, c, d, e, f, g, h, 0, VIRTUAL, 1, 0, 0xff, 0xff,
        ],
        &[VENDOR, VERSION, DATE],
    );
    // Manufacturer, product, version, serial number, UUID (none), wake-up: unknown, SKU, family.
    let mut system = [0; 23];
    system[..3].copy_from_slice(&[1, 2, 3]);
    system[20] = 2;
    table.structure(SYSTEM, &system, &[VENDOR, PRODUCT, VERSION]);
    // Manufacturer, type: other, three texts, four states: safe or none.
    table.structure(ENCLOSURE, &[1, 1, 0, 0, 0, 3, 3, 3, 2], &[VENDOR]);
    table.structure(END, &[], &[]);
    placer.write(ENTRY, &entry(&table));
    placer.write(TABLE, &table.bytes);
}

/// The table under construction.
#[derive(Default)]
struct Table {
    bytes: heapless::Vec<u8, CAPACITY>,
    largest: usize,
    count: u8,
}

impl Table {
    /// Adds a structure: its type, what follows the header, and its texts, each with its NUL.
    fn structure(&mut self, kind: u8, body: &[u8], texts: &[&[u8]]) {
        let start = self.bytes.len();
        let header = [kind, 4 + body.len() as u8, self.count, 0];
        // All of it is known at compile time to fit.
        let mut put = |bytes: &[u8]| {
            let _ = self.bytes.extend_from_slice(bytes);
        };
        put(&header);
        put(body);
        texts.iter().for_each(|text| put(text));
        put(if texts.is_empty() { &[0, 0] } else { &[0] });
        self.largest = self.largest.max(self.bytes.len() - start);
        self.count += 1;
    }
}

/// The entry point (section 5.2.1): a checksum over all of it, and one over its second half.
fn entry(table: &Table) -> [u8; 31] {
    let mut entry = [0; 31];
    entry[..4].copy_from_slice(b"_SM_");
    entry[5..8].copy_from_slice(&[31, 2, 8]);
    entry[8..10].copy_from_slice(&(table.largest as u16).to_le_bytes());
    entry[16..21].copy_from_slice(b"_DMI_");
    entry[22..24].copy_from_slice(&(table.bytes.len() as u16).to_le_bytes());
    entry[24..28].copy_from_slice(&(TABLE as u32).to_le_bytes());
    entry[28..30].copy_from_slice(&u16::from(table.count).to_le_bytes());
    entry[30] = 0x28;
    entry[21] = checksum(&entry[16..]);
    entry[4] = checksum(&entry);
    entry
}

/// The byte that makes the sum of all zero.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::firmware::tests::placed;

    #[test]
    fn the_entry_point_is_found_and_its_structures_are_all_there() {
        let placed = placed();
        let entry = (0xf_0000..0x10_0000)
            .step_by(16)
            .find(|at| placed.bytes(*at, 4) == b"_SM_")
            .unwrap();
        assert_eq!(checksum(placed.bytes(entry, 31)), 0);
        assert_eq!(checksum(placed.bytes(entry + 16, 15)), 0);
        let length = u64::from(placed.word(entry + 22) & 0xffff);
        let start = u64::from(placed.word(entry + 24));
        let (mut at, mut kinds) = (start, std::vec![]);
        while at < start + length {
            let &[kind, size] = placed.bytes(at, 2) else {
                unreachable!()
            };
            kinds.push(kind);
            at += u64::from(size);
            while placed.bytes(at, 2) != [0, 0] {
                at += 1;
            }
            at += 2;
        }
        assert_eq!((kinds, at), (std::vec![0, 1, 3, 127], start + length));
        assert_eq!(placed.word(entry + 28) & 0xffff, 4);
    }
}
