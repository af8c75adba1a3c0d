//! Two 8259, an IOAPIC and local APICs.
#![no_std]
#![forbid(unsafe_code)]
