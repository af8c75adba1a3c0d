//! Guest memory of the simulated machine: pages that appear when they are written, so that a guest of many gigabytes costs nothing.

use std::collections::BTreeMap;

use atoll_protocol::layout::ram_offset;
use atoll_protocol::units::Gpa;

const PAGE: u64 = 4096;

/// Guest memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes of it.
    pub(crate) size: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Memory {
    fn byte(&self, at: u64) -> Option<u8> {
        let offset = ram_offset(self.size, at)?;
        let page = self.pages.get(&(offset / PAGE));
        Some(page.map_or(0, |page| page[(offset % PAGE) as usize]))
    }

    /// Copies out; false if it is not all RAM.
    pub(crate) fn read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        into.iter_mut().zip(0..).all(|(byte, index)| {
            let found = gpa.0.checked_add(index).and_then(|at| self.byte(at));
            *byte = found.unwrap_or(0);
            found.is_some()
        })
    }

    /// A little-endian number of `size` bytes.
    ///
    /// # Panics
    /// It is not all RAM: the kernel's check has let something through.
    pub(crate) fn number(&self, gpa: Gpa, size: u64) -> u64 {
        let mut bytes = [0; 8];
        assert!(
            self.read(gpa, &mut bytes[..size as usize]),
            "{size} bytes at {gpa:?} are not RAM"
        );
        u64::from_le_bytes(bytes)
    }

    /// Copies in.
    ///
    /// # Panics
    /// It is not all RAM: the kernel's check has let something through.
    pub(crate) fn write(&mut self, gpa: Gpa, bytes: &[u8]) {
        for (index, byte) in (0..).zip(bytes) {
            let offset =
                ram_offset(self.size, gpa.0 + index).expect("a write outside guest memory");
            let page = self
                .pages
                .entry(offset / PAGE)
                .or_insert_with(|| vec![0; PAGE as usize].into());
            page[(offset % PAGE) as usize] = *byte;
        }
    }
}
