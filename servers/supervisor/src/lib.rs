//! Builds the machine from its manifest and watches over it.
#![no_std]
#![forbid(unsafe_code)]
