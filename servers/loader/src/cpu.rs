//! The first vCPU's state at the entry points, with the descriptor and page tables that go with it.

use atoll_protocol::vcpu::{InitialState, Segment};
use zerocopy::IntoBytes;

use crate::memory::{GDT, PAGE_TABLES};
use crate::placer::Placer;

/// Selectors of the flat code and data segments (Linux's `__BOOT_CS`, `__BOOT_DS`).
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;

/// Packed attributes (APM vol. 2 §15.5.1): present accessed code, 64-bit or 32-bit with page granularity; writable data; busy TSS.
const CODE_64: u16 = 0xa9b;
const CODE_32: u16 = 0xc9b;
const FLAT_DATA: u16 = 0xc93;
const BUSY_TSS: u16 = 0x8b;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;
/// The bit of RFLAGS that is always one: interrupts are off.
const RFLAGS: u64 = 2;

/// Present, writable; in a directory: a page of 2 MiB.
const TABLE: u64 = 3;
const LARGE_PAGE: u64 = 0x83;
const PAGE: u64 = 0x1000;
/// Gibibytes that the page tables map.
const GIBIBYTES: u64 = 4;

/// Numbers of general registers in [`InitialState::general`].
pub(crate) const RAX: usize = 0;
pub(crate) const RBX: usize = 3;
pub(crate) const RSI: usize = 6;

/// Sets a general register.
pub(crate) fn set(state: &mut InitialState, register: usize, value: u64) {
    if let Some(place) = state.general.get_mut(register) {
        *place = value;
    }
}

/// A segment's descriptor, as it stands in memory (APM vol. 2 §4.7).
fn descriptor(segment: &Segment) -> u64 {
    let attributes = u64::from(segment.attributes);
    let limit = if attributes & 0x800 != 0 {
        segment.limit >> 12
    } else {
        segment.limit
    };
    let limit = u64::from(limit);
    limit & 0xffff
        | (segment.base & 0xff_ffff) << 16
        | (attributes & 0xff) << 40
        | (limit >> 16 & 0xf) << 48
        | (attributes >> 8) << 52
        | (segment.base >> 24 & 0xff) << 56
}

fn flat(selector: u16, attributes: u16) -> Segment {
    Segment {
        selector,
        attributes,
        limit: u32::MAX,
        base: 0,
    }
}

/// Flat segments, no paging, interrupts off.
pub(crate) fn protected(rip: u64, placer: &mut Placer<'_, '_>) -> InitialState {
    state(rip, flat(CODE, CODE_32), placer)
}

/// Flat segments, the low 4 GiB mapped one to one, interrupts off.
pub(crate) fn long(rip: u64, placer: &mut Placer<'_, '_>) -> InitialState {
    page_tables(placer);
    let mut state = state(rip, flat(CODE, CODE_64), placer);
    state.cr0 |= CR0_PG;
    state.cr3 = PAGE_TABLES;
    state.cr4 = CR4_PAE;
    state.efer = EFER_LME_LMA;
    state
}

fn state(rip: u64, code: Segment, placer: &mut Placer<'_, '_>) -> InitialState {
    let data = flat(DATA, FLAT_DATA);
    let table = [0, 0, descriptor(&code), descriptor(&data)];
    placer.write(GDT, table.as_bytes());
    InitialState {
        segments: [data, code, data, data, data, data],
        gdtr: Segment {
            limit: size_of_val(&table) as u32 - 1,
            base: GDT,
            ..Segment::default()
        },
        tr: Segment {
            attributes: BUSY_TSS,
            limit: 0x67,
            ..Segment::default()
        },
        rip,
        rflags: RFLAGS,
        cr0: CR0_PE | CR0_ET,
        ..InitialState::default()
    }
}

/// A root with one table of four directories, which map 2 MiB pages: pages of 1 GiB are not there on every CPU.
fn page_tables(placer: &mut Placer<'_, '_>) {
    let table = PAGE_TABLES + PAGE;
    let directory = |number: u64| table + PAGE + number * PAGE;
    placer.zero(PAGE_TABLES, 2 * PAGE);
    placer.write(PAGE_TABLES, (table | TABLE).as_bytes());
    let directories: [u64; GIBIBYTES as usize] =
        core::array::from_fn(|number| directory(number as u64) | TABLE);
    placer.write(table, directories.as_bytes());
    for number in 0..GIBIBYTES {
        let pages: [u64; 512] =
            core::array::from_fn(|page| number << 30 | (page as u64) << 21 | LARGE_PAGE);
        placer.write(directory(number), pages.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_that_linux_documents() {
        assert_eq!(descriptor(&flat(CODE, CODE_64)), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&flat(CODE, CODE_32)), 0x00cf_9b00_0000_ffff);
        assert_eq!(descriptor(&flat(DATA, FLAT_DATA)), 0x00cf_9300_0000_ffff);
    }
}
