//! The host tool's line into the machine, on the host's COM2.
#![no_std]
#![forbid(unsafe_code)]
