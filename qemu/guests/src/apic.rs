//! The interrupt controllers, as guests use them: the local APIC in memory, and the 8259s masked.

use x86_64::instructions::port::Port;

use crate::memory::{load, store};

/// The local APIC.
pub const LOCAL: u64 = 0xfee0_0000;
/// Local APIC: task priority.
pub const TPR: u64 = LOCAL + 0x80;
/// Local APIC: end of interrupt.
pub const EOI: u64 = LOCAL + 0xb0;
/// Local APIC: logical destination.
pub const LDR: u64 = LOCAL + 0xd0;
/// Local APIC: spurious vector and software enable.
const SVR: u64 = LOCAL + 0xf0;
/// Local APIC: requested vectors.
const IRR: u64 = LOCAL + 0x200;
/// Local APIC: vectors in service.
const ISR: u64 = LOCAL + 0x100;
/// Local APIC: interrupt command.
pub const ICR: u64 = LOCAL + 0x300;
/// Local APIC: its destination. Both QEMU's and Atoll's keep all 32 bits, and it does nothing by itself.
pub const ICR_HIGH: u64 = LOCAL + 0x310;
/// Local APIC: timer vector.
pub const LVT_TIMER: u64 = LOCAL + 0x320;
/// Local APIC: LINT0.
const LVT_LINT0: u64 = LOCAL + 0x350;
/// Local APIC: the timer's initial count.
pub const INITIAL_COUNT: u64 = LOCAL + 0x380;
/// Local APIC: the timer's divider.
const DIVIDE: u64 = LOCAL + 0x3e0;
/// The I/O APIC's index register: eight bits that can be accessed in any width.
pub const SELECT: u64 = 0xfec0_0000;
/// The I/O APIC's data register.
pub const WINDOW: u64 = 0xfec0_0010;

/// Interrupt command: to itself, fixed.
pub const TO_SELF: u32 = 0x4_4000;
/// Interrupt command: an NMI to APIC 0.
pub const NMI: u32 = 0x4400;
/// A masked entry.
pub const MASKED: u32 = 1 << 16;

/// Masks the 8259s, whose vectors begin at 0x20 and 0x28, and enables the local APIC.
pub fn start() {
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 2),
        (0xa1, 1),
    ] {
        out(port, value);
    }
    out(0x21, 0xff);
    out(0xa1, 0xff);
    store(SVR, 0x1ff);
    store(TPR, 0);
    store(LVT_TIMER, MASKED);
    store(LVT_LINT0, 0x700);
}

/// Writes a byte to a port.
pub fn out(port: u16, value: u8) {
    // SAFETY: the ports of the devices that guests program do not touch memory.
    unsafe { Port::new(port).write(value) };
}

/// Reads a byte from a port.
#[must_use]
pub fn inb(port: u16) -> u8 {
    // SAFETY: as above.
    unsafe { Port::new(port).read() }
}

/// Raises a vector of the CPU's own.
pub fn raise(vector: u8) {
    store(ICR, TO_SELF | u32::from(vector));
}

/// Ends the interrupt in service.
pub fn end() {
    store(EOI, 0);
}

/// Starts the timer: `vector` after `count` ticks.
pub fn one_shot(vector: u8, count: u32) {
    store(DIVIDE, 0b1011);
    store(LVT_TIMER, u32::from(vector));
    store(INITIAL_COUNT, count);
}

/// Whether a vector is requested.
#[must_use]
pub fn requested(vector: u8) -> bool {
    load(IRR + u64::from(vector / 32) * 16) >> (vector % 32) & 1 != 0
}

/// Whether a vector is in service.
#[must_use]
pub fn in_service(vector: u8) -> bool {
    load(ISR + u64::from(vector / 32) * 16) >> (vector % 32) & 1 != 0
}
