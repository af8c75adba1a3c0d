//! The fixed description table (ACPI 6.4 §5.2.9): the registers of power management, reset and what a PC has.

use super::table::Table;
use super::{DSDT, FACS};

/// First ports of the power-management server's registers.
const PM1_EVENT: u64 = 0x600;
const PM1_CONTROL: u64 = 0x604;
const PM_TIMER: u64 = 0x608;
const RESET: u64 = 0xcf9;
/// What is written to [`RESET`]: a full reset.
const RESET_VALUE: u64 = 6;
/// The interrupt of power management.
pub(super) const SCI: u64 = 9;
/// The RTC's location of the century.
const CENTURY: u64 = 0x32;
/// C2 and C3 are not there: latencies above 100 and 1000 us.
const NO_C2: u64 = 0xfff;
const NO_C3: u64 = 0xfff;

/// IAPC_BOOT_ARCH: devices on ISA, no VGA. Not set: 8042.
const BOOT_ARCH: u64 = 1 | 1 << 2;
/// WBINVD works, C1 works, no power or sleep button among the fixed registers, the RTC does not wake, RESET_REG is there.
///
/// Not set: TMR_VAL_EXT (the timer has 24 bits), HW_REDUCED_ACPI.
const FLAGS: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10;

/// A generic address: a port of `bits`, read and written in units of `access` (1 a byte, 2 a word, 3 a double word).
fn port(table: &mut Table, address: u64, bits: u64, access: u64) {
    table
        .field::<1>(1)
        .field::<1>(bits)
        .field::<1>(0)
        .field::<1>(access)
        .field::<8>(address);
}

/// A generic address that is not there.
fn absent(table: &mut Table) {
    table.put(&[0; 12]);
}

/// The table, in the form of revision 6.
pub(super) fn table() -> Table {
    let mut table = Table::new(b"FACP", 6);
    let fadt = &mut table;
    fadt.field::<4>(FACS).field::<4>(DSDT);
    // Reserved, no preferred profile, SCI; no SMI command port and no values for it.
    fadt.field::<1>(0)
        .field::<1>(0)
        .field::<2>(SCI)
        .field::<4>(0)
        .put(&[0; 4]);
    // PM1a and PM1b events, PM1a and PM1b control, PM2 control, timer, GPE0, GPE1.
    fadt.field::<4>(PM1_EVENT)
        .field::<4>(0)
        .field::<4>(PM1_CONTROL)
        .field::<4>(0)
        .field::<4>(0)
        .field::<4>(PM_TIMER);
    fadt.field::<4>(0).field::<4>(0);
    // Their lengths: PM1 event, PM1 control, PM2, timer, GPE0, GPE1; GPE1's base; _CST control.
    fadt.put(&[4, 2, 0, 4, 0, 0, 0, 0]);
    // Latencies; flush size and stride, duty cycle; alarm's day and month.
    fadt.field::<2>(NO_C2)
        .field::<2>(NO_C3)
        .put(&[0; 6])
        .put(&[0; 2]);
    fadt.field::<1>(CENTURY)
        .field::<2>(BOOT_ARCH)
        .field::<1>(0)
        .field::<4>(FLAGS);
    port(fadt, RESET, 8, 1);
    // ARM's boot flags, minor version; the 64-bit FACS address stays 0 beside the 32-bit one.
    fadt.field::<1>(RESET_VALUE)
        .field::<2>(0)
        .field::<1>(0)
        .field::<8>(0)
        .field::<8>(DSDT);
    port(fadt, PM1_EVENT, 32, 2);
    absent(fadt);
    port(fadt, PM1_CONTROL, 16, 2);
    absent(fadt);
    absent(fadt);
    port(fadt, PM_TIMER, 32, 3);
    // GPE0, GPE1, sleep control, sleep status.
    (0..4).for_each(|_| absent(fadt));
    fadt.put(b"AtollVM\0");
    table
}
