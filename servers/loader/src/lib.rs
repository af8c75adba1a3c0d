//! Places bzImage, multiboot 1 and PVH guests.
#![no_std]
#![forbid(unsafe_code)]
