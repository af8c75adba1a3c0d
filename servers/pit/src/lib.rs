//! An 8254 interval timer.
#![no_std]
#![forbid(unsafe_code)]
