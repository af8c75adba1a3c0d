//! Intel's MultiProcessor tables (specification 1.4): the processors and interrupts, for systems from before ACPI.

use crate::placer::Placer;
use crate::smbios::checksum;

const POINTER: u64 = 0xf_2000;
const TABLE: u64 = 0xf_2010;
const CAPACITY: usize = 1024;
/// Most CPUs that there is room for.
const MOST: u16 = 32;

const LAPIC_ADDRESS: u32 = 0xfee0_0000;
const IOAPIC_ADDRESS: u32 = 0xfec0_0000;
const LAPIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x20;
/// Entries: processor, bus, I/O APIC, interrupt, local interrupt.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const INTERRUPT: u8 = 3;
const LOCAL: u8 = 4;
/// The processor is usable; it is the first.
const ENABLED: u8 = 1;
const FIRST: u8 = 2;
/// Kinds of interrupts: by vector, NMI, from the 8259s.
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXTERNAL: u8 = 3;
/// The timer is at another pin than at the 8259s.
const TIMER_PIN: u8 = 2;
/// The SCI is active high, level-triggered; all others as the ISA bus has them.
const SCI: u8 = 9;
const LEVEL_HIGH: u8 = 0b1101;
const ALL: u8 = 0xff;

/// Places the pointer and the table.
pub(crate) fn place(vcpus: u16, placer: &mut Placer<'_, '_>) {
    let table = table(vcpus.min(MOST));
    let mut pointer = [0; 16];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&(TABLE as u32).to_le_bytes());
    pointer[8..10].copy_from_slice(&[1, 4]);
    pointer[10] = checksum(&pointer);
    placer.write(POINTER, &pointer);
    placer.write(TABLE, &table);
}

fn table(vcpus: u16) -> heapless::Vec<u8, CAPACITY> {
    let mut table = heapless::Vec::new();
    let mut count = 0_u16;
    // The number of CPUs is bounded: all of it fits.
    let mut put = |bytes: &[u8]| {
        let _ = table.extend_from_slice(bytes);
    };
    put(b"PCMP\0\0\x04\0ATOLL   VIRTUAL     ");
    put(&[0; 8]);
    put(&LAPIC_ADDRESS.to_le_bytes());
    put(&[0; 4]);
    let mut entry = |bytes: &[u8]| {
        put(bytes);
        count += 1;
    };
    // The I/O APIC's identification follows the processors'.
    let ioapic = vcpus as u8;
    for cpu in 0..ioapic {
        let flags = ENABLED | if cpu == 0 { FIRST } else { 0 };
        // Signature and features are CPUID's.
        let mut processor = [0; 20];
        processor[..4].copy_from_slice(&[PROCESSOR, cpu, LAPIC_VERSION, flags]);
        entry(&processor);
    }
    entry(&[BUS, 0, b'I', b'S', b'A', b' ', b' ', b' ']);
    let [a, b, c, d] = IOAPIC_ADDRESS.to_le_bytes();
    entry(&[IOAPIC, ioapic, IOAPIC_VERSION, 1, a, b, c, d]);
    for line in (0..16).filter(|line| *line != TIMER_PIN) {
        let flags = if line == SCI { LEVEL_HIGH } else { 0 };
        let pin = if line == 0 { TIMER_PIN } else { line };
        entry(&[INTERRUPT, VECTORED, flags, 0, 0, line, ioapic, pin]);
    }
    entry(&[LOCAL, EXTERNAL, 0, 0, 0, 0, ALL, 0]);
    entry(&[LOCAL, NMI, 0, 0, 0, 0, ALL, 1]);
    let length = (table.len() as u16).to_le_bytes();
    if let Some(place) = table.get_mut(4..6) {
        place.copy_from_slice(&length);
    }
    if let Some(place) = table.get_mut(34..36) {
        place.copy_from_slice(&count.to_le_bytes());
    }
    let sum = checksum(&table);
    if let Some(place) = table.get_mut(7) {
        *place = sum;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::tests::placed;

    #[test]
    fn the_pointer_is_found_and_the_table_has_all_its_entries() {
        let placed = placed();
        let pointer = (0xf_0000..0x10_0000)
            .step_by(16)
            .find(|at| placed.bytes(*at, 4) == b"_MP_")
            .unwrap();
        assert_eq!(checksum(placed.bytes(pointer, 16)), 0);
        let table = u64::from(placed.word(pointer + 4));
        assert_eq!(placed.bytes(table, 4), b"PCMP");
        let length = u64::from(placed.word(table + 4) & 0xffff);
        assert_eq!(checksum(placed.bytes(table, length as usize)), 0);
        let count = placed.word(table + 34) & 0xffff;
        let (mut at, mut seen) = (table + 44, 0);
        while at < table + length {
            at += if placed.bytes(at, 1) == [PROCESSOR] {
                20
            } else {
                8
            };
            seen += 1;
        }
        assert_eq!((at, seen), (table + length, count));
    }

    #[test]
    fn thirty_two_processors_fit() {
        let table = table(MOST);
        assert_eq!((checksum(&table), table[34]), (0, 32 + 1 + 1 + 15 + 2));
    }
}
