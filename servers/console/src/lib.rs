//! The guest's console on the host's COM1.
#![no_std]
#![forbid(unsafe_code)]
