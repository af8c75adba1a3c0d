//! What exits cost, in instructions: on Atoll, and with the same guest code on KVM in the same QEMU.
//!
//! Everything runs with one instruction as one nanosecond of virtual time, on the same `-cpu`, so the figures are exact and repeat bit by
//! bit.
//!
//! 1. [`probes`]: the in-tree guest `probes` measures and prints; its lines are read here.
//! 2. [`peer`]: the same guest on KVM, in a Linux that runs nothing else.
//! 3. [`boot`]: Linux, from its entry to its shell's prompt.
//! 4. [`waits`]: how long the guest waits for a server that is restarted or swapped.
//! 5. [`run`]: one boot, from a guest to what it printed; [`linux`]: programs and a kernel for it.
//! 6. [`bars`]: what a figure may be at most.
//! 7. [`report`]: the table, and the JSON file.

pub mod bars;
pub mod boot;
pub mod linux;
pub mod peer;
pub mod probes;
pub mod report;
pub mod run;
pub mod waits;

pub use report::Report;
