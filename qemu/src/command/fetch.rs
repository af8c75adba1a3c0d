//! `atoll fetch`: everything that a boot may need, while there is a network.

use crate::cli::Common;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::guest::linux::{self, Kernel, Release};

/// Fetches it.
pub(super) fn run(debian_13: bool, common: &Common) -> Result<()> {
    let emulator = Emulator::find(common.offline)?;
    println!("{}", emulator.program.display());
    for (_, kernel) in Kernel::ALL
        .iter()
        .filter(|(_, kernel)| debian_13 || kernel.release == Release::Host)
    {
        println!("{}", linux::kernel(*kernel, common.offline)?.display());
    }
    println!("{}", linux::busybox(common.offline)?.display());
    Ok(())
}
