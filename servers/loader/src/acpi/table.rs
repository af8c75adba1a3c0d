//! One system description table: the common header (ACPI 6.4 §5.2.6), then fields one after another.

use super::OEM;

/// Bytes of the largest: a MADT with 255 CPUs.
const CAPACITY: usize = 2304;
const LENGTH: usize = 4;
const CHECKSUM: usize = 9;

/// A table under construction.
pub(super) struct Table {
    bytes: heapless::Vec<u8, CAPACITY>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(signature: &[u8; 4], revision: u8) -> Table {
        let mut table = Table {
            bytes: heapless::Vec::new(),
        };
        table
            .put(signature)
            .put(&[0; 4])
            .put(&[revision, 0])
            .put(OEM)
            .put(b"ATOLLVM ")
            .put(&1_u32.to_le_bytes());
        table.put(b"ATOL").put(&1_u32.to_le_bytes());
        table
    }

    /// Adds bytes. All tables together are known at compile time to fit, but for the MADT's CPUs, which are counted.
    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Table {
        let _ = self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds one field of 8, 16, 32 or 64 bits.
    pub(super) fn field<const N: usize>(&mut self, value: u64) -> &mut Table {
        let bytes = value.to_le_bytes();
        self.put(bytes.get(..N).unwrap_or(&bytes))
    }

    /// Fills in length and checksum.
    pub(super) fn finish(&mut self) -> &[u8] {
        let length = (self.bytes.len() as u32).to_le_bytes();
        if let Some(place) = self.bytes.get_mut(LENGTH..LENGTH + 4) {
            place.copy_from_slice(&length);
        }
        let sum = checksum(&self.bytes);
        if let Some(place) = self.bytes.get_mut(CHECKSUM) {
            *place = sum;
        }
        &self.bytes
    }
}

/// The byte that makes the sum of all zero.
pub(super) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}
