//! The interrupt controllers (ACPI 6.4 §5.2.12): local APICs, one IOAPIC, two 8259.

use super::fadt::SCI;
use super::table::Table;

const LAPIC_ADDRESS: u64 = 0xfee0_0000;
const IOAPIC_ADDRESS: u64 = 0xfec0_0000;
/// There are 8259s, too.
const PCAT_COMPAT: u64 = 1;
/// Most CPUs with an APIC id of eight bits that is not the broadcast's.
const MOST: u16 = 255;

/// Polarity and trigger of an interrupt: as the bus has it (ISA: edge, high), or level, active high.
const AS_THE_BUS: u64 = 0;
const LEVEL_HIGH: u64 = 0b1101;

/// An ISA interrupt on another pin, or of another kind.
fn source_override(table: &mut Table, source: u64, pin: u64, flags: u64) {
    table
        .put(&[2, 10, 0])
        .field::<1>(source)
        .field::<4>(pin)
        .field::<2>(flags);
}

/// The table.
pub(super) fn table(vcpus: u16) -> Table {
    let mut table = Table::new(b"APIC", 4);
    let madt = &mut table;
    madt.field::<4>(LAPIC_ADDRESS).field::<4>(PCAT_COMPAT);
    for cpu in 0..vcpus.min(MOST) {
        let number = u64::from(cpu);
        // Type, length, processor's number, APIC id, enabled.
        madt.put(&[0, 8])
            .field::<1>(number)
            .field::<1>(number)
            .field::<4>(1);
    }
    // Type, length, id, reserved, address, first interrupt.
    madt.put(&[1, 12, 0, 0])
        .field::<4>(IOAPIC_ADDRESS)
        .field::<4>(0);
    // The timer's interrupt is on pin 2, where the 8259s' own would be.
    source_override(madt, 0, 2, AS_THE_BUS);
    source_override(madt, SCI, SCI, LEVEL_HIGH);
    // NMI on LINT1 of every CPU.
    madt.put(&[4, 6, 0xff, 0, 0, 1]);
    table
}
