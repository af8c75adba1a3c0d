//! ACPI tables (ACPI 6.4): what the machine has, for systems that do not want to guess.
//!
//! ```text
//! 0xe0000 RSDP ─► RSDT, XSDT ─► FADT ─► FACS, DSDT
//!                            └► MADT
//! ```
//!
//! They stand where a BIOS has them, in memory that the map calls reserved, so that a system which is not told of the RSDP finds it by
//! its search. There is no HPET, no PCI, and no SMI: the machine is always in ACPI mode.

mod aml;
mod fadt;
mod madt;
mod table;
#[cfg(test)]
mod tests;

use table::{Table, checksum};

use crate::memory::ACPI;
use crate::placer::Placer;

const RSDT: u64 = ACPI + 0x40;
const XSDT: u64 = ACPI + 0x80;
/// Aligned to 64 bytes, as its definition wants.
const FACS: u64 = ACPI + 0xc0;
const FADT: u64 = ACPI + 0x100;
const DSDT: u64 = ACPI + 0x300;
const MADT: u64 = ACPI + 0x400;

const OEM: &[u8; 6] = b"ATOLL ";

/// Places all tables.
pub(crate) fn place(vcpus: u16, placer: &mut Placer<'_, '_>) {
    all(vcpus, &mut |at, bytes| placer.write(at, bytes));
}

/// Makes each table and hands it out with its place.
fn all(vcpus: u16, write: &mut impl FnMut(u64, &[u8])) {
    let mut rsdt = Table::new(b"RSDT", 1);
    let mut xsdt = Table::new(b"XSDT", 1);
    for table in [FADT, MADT] {
        rsdt.field::<4>(table);
        xsdt.field::<8>(table);
    }
    write(ACPI, &root());
    write(RSDT, rsdt.finish());
    write(XSDT, xsdt.finish());
    write(FACS, &facs());
    write(FADT, fadt::table().finish());
    write(DSDT, Table::new(b"DSDT", 2).put(aml::NAMESPACE).finish());
    write(MADT, madt::table(vcpus).finish());
}

/// The root pointer, revision 2 (§5.2.5.3): one checksum over what revision 0 had, one over all.
fn root() -> [u8; 36] {
    let mut root = [0; 36];
    root[..8].copy_from_slice(b"RSD PTR ");
    root[9..15].copy_from_slice(OEM);
    root[15] = 2;
    root[16..20].copy_from_slice(&(RSDT as u32).to_le_bytes());
    root[20] = 36;
    root[24..32].copy_from_slice(&XSDT.to_le_bytes());
    root[8] = checksum(&root[..20]);
    root[32] = checksum(&root);
    root
}

/// The firmware's control structure (§5.2.10), version 2: no global lock is taken, nothing to wake to. It has no checksum.
fn facs() -> [u8; 64] {
    let mut facs = [0; 64];
    facs[..4].copy_from_slice(b"FACS");
    facs[4] = 64;
    facs[32] = 2;
    facs
}
