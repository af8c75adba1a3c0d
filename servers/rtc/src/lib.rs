//! An MC146818 real-time clock.
#![no_std]
#![forbid(unsafe_code)]
