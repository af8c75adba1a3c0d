//! Port I/O.
//!
//! Safe functions: no port touches memory by itself. A device that is told to do DMA can, but that is decided where ports are granted,
//! not where a byte is written. AMD APM vol. 3, IN and OUT.

use x86_64::instructions::port::{Port, PortRead, PortWrite};

/// Reads a port: a `u8`, `u16` or `u32`.
#[inline(always)]
pub(crate) fn read<T: PortRead>(port: u16) -> T {
    // SAFETY: IN touches no memory.
    unsafe { Port::new(port).read() }
}

/// Writes a port: a `u8`, `u16` or `u32`.
#[inline(always)]
pub(crate) fn write<T: PortWrite>(port: u16, value: T) {
    // SAFETY: OUT touches no memory.
    unsafe { Port::new(port).write(value) }
}
