//! The MSRs with a log as a ring-3 program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
atoll_sdk::image!(atoll_msr_trace::TraceServer);

/// A host build has nothing to run: images are for the bare target.
#[cfg(not(target_os = "none"))]
fn main() {}
