//! `atoll fetch`: everything that a boot may need, while there is a network.

use crate::cli::Common;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::guest::linux::{self, Flavor};

/// Fetches it.
pub(super) fn run(common: &Common) -> Result<()> {
    let emulator = Emulator::find(common.offline)?;
    println!("{}", emulator.program.display());
    for flavor in [Flavor::Cloud, Flavor::Generic] {
        println!("{}", linux::kernel(flavor, common.offline)?.display());
    }
    println!("{}", linux::busybox(common.offline)?.display());
    Ok(())
}
