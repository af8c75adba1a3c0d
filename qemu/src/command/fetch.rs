//! `atoll fetch`: everything that a boot may need, while there is a network.

use std::path::Path;

use crate::cli::Common;
use crate::emulator::Emulator;
use crate::error::Result;
use crate::guest::linux::{self, Kernel, Release};
use crate::shown::print;

/// Fetches it.
pub(super) fn run(debian_13: bool, from: Option<&Path>, common: &Common) -> Result<()> {
    if let Some(dir) = from {
        return linux::take_from(dir)?
            .iter()
            .try_for_each(|file| print(format_args!("{}\n", file.display())));
    }
    let emulator = Emulator::find(common.offline)?;
    print(format_args!("{}\n", emulator.program.display()))?;
    for (_, kernel) in Kernel::ALL
        .iter()
        .filter(|(_, kernel)| debian_13 || kernel.release == Release::Host)
    {
        print(format_args!(
            "{}\n",
            linux::kernel(*kernel, common.offline)?.display()
        ))?;
    }
    print(format_args!(
        "{}\n",
        linux::busybox(common.offline)?.display()
    ))?;
    Ok(())
}
