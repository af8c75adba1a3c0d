//! What a guest can measure of the machine below it: instructions from one that exits to the one after it.
//!
//! The clock is RDTSC, which neither Atoll nor KVM intercepts. Under `-icount shift=0,sleep=off` it counts instructions (one is one
//! nanosecond, the TSC runs at 1 GHz), those of the hypervisor included; a figure is what lies between two readings, less the same two
//! readings with nothing between them.
//!
//! Nothing is printed until all is measured: the console would get in the way.

pub mod exits;
pub mod local_apic;
pub mod mail;
pub mod measure;
pub mod touch;
pub mod window;

pub use measure::Figure;
