//! A 16550A serial port.
#![no_std]
#![forbid(unsafe_code)]
