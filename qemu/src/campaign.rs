//! Campaigns: many boots with faults in them, each compared with a golden run, and a report.
//!
//! 1. [`grammar`]: a fault as text, and as what the kernel is told.
//! 2. [`plan`]: which faults, from where on; [`sweep`]: the list of experiments that follows from it.
//! 3. [`lab`]: a machine that is stopped at an instant and started again from there.
//! 4. [`experiment`]: one run; [`journal`]: what the kernel told of it; [`outcome`]: its class, by its [`console`]; [`record`]: what is kept; [`depends`]: what
//!    it depends on.
//! 5. [`runner`]: all of them, by a [`crew`]; [`store`]: their records on disk; [`replay`]: one of them again.
//! 6. [`report`]: what they come to.
//! 7. [`host`]: the same plans without QEMU.

pub mod console;
pub mod crew;
pub mod depends;
pub mod experiment;
pub mod grammar;
pub mod host;
pub mod journal;
pub mod lab;
pub mod outcome;
pub mod plan;
pub mod record;
pub mod replay;
pub mod report;
pub mod runner;
pub mod store;
pub mod sweep;
