//! Where things are in the injecting kernel.

use std::fs;
use std::path::Path;

use object::{Object, ObjectSymbol};

use crate::error::{Error, Result};

/// Where the kernel is linked above its physical address (`kernel/kernel.ld`).
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Addresses.
#[derive(Clone, Copy, Debug)]
pub struct Symbols {
    /// The plan's page, physical.
    pub plan: u64,
    /// When the last activation began, physical.
    pub clock: u64,
}

impl Symbols {
    /// Reads them off the kernel's file.
    pub fn of(kernel: &Path) -> Result<Self> {
        let bytes = fs::read(kernel).map_err(Error::file(kernel))?;
        let file = object::File::parse(&*bytes).map_err(|error| Error::guest(kernel, error))?;
        let address = |name: &str| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            symbol
                .map(|symbol| symbol.address())
                .ok_or_else(|| Error::guest(kernel, format_args!("it has no symbol '{name}'")))
        };
        let physical = |name: &str| address(name).map(|address| address.wrapping_sub(KERNEL_BASE));
        Ok(Self {
            plan: physical("ATOLL_PLAN")?,
            clock: physical("ATOLL_CLOCK")?,
        })
    }
}
