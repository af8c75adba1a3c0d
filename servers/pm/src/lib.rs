//! ACPI power management: timer, reset, power off.
#![no_std]
#![forbid(unsafe_code)]
