//! Port I/O.
//!
//! Safe functions: no port touches memory by itself. A device that is told to do DMA can, but that is decided where ports are granted,
//! not where a byte is written. AMD APM vol. 3, IN and OUT.

use core::arch::asm;

/// Reads a byte.
#[inline(always)]
pub(crate) fn read_u8(port: u16) -> u8 {
    let value;
    // SAFETY: IN touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads two bytes.
#[inline(always)]
pub(crate) fn read_u16(port: u16) -> u16 {
    let value;
    // SAFETY: IN touches no memory.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads four bytes.
#[inline(always)]
pub(crate) fn read_u32(port: u16) -> u32 {
    let value;
    // SAFETY: IN touches no memory.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte.
#[inline(always)]
pub(crate) fn write_u8(port: u16, value: u8) {
    // SAFETY: OUT touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes two bytes.
#[inline(always)]
pub(crate) fn write_u16(port: u16, value: u16) {
    // SAFETY: OUT touches no memory.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes four bytes.
#[inline(always)]
pub(crate) fn write_u32(port: u16, value: u32) {
    // SAFETY: OUT touches no memory.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}
