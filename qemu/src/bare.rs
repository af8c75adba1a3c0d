//! The crates that run on the bare machine: kernel, servers, test guests. They are built by a cargo of their own, into a directory of
//! their own, always optimised: instruction counts would mean nothing otherwise.

pub mod build;
pub mod sysroot;
pub mod target;

pub use build::{Built, guest, system};
pub use target::Toolchain;

/// What they are built for: no SSE, no red zone.
pub const TARGET: &str = "x86_64-unknown-none";
