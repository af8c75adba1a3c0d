//! `atoll check`: whether a manifest describes a machine, without booting it.

use std::path::Path;

use atoll_manifest::{Machine, bundle};

use crate::bare::Toolchain;
use crate::cli::Common;
use crate::error::Result;
use crate::shown::print;
use crate::{bare, place};

/// Checks it and prints what it describes.
pub(super) fn run(path: &Path, common: &Common) -> Result<()> {
    let machine = Machine::load(path)?;
    let workspace = place::workspace()?;
    machine.check_images(&bare::build::images(&workspace)?)?;
    let built = bare::system(&workspace, &Toolchain::find(common.permission())?)?;
    bundle::check_roles(&machine, &built)?;
    print(format_args!(
        "{}: {} MiB, {} vcpu, {} servers\n",
        path.display(),
        machine.memory >> 20,
        machine.vcpus,
        machine.servers.len()
    ))?;
    for (number, server) in (1..).zip(&machine.servers) {
        let (routes, grants) = (server.routes.len(), server.grants.len());
        print(format_args!(
            "  {number:2} {:<12} {:<10} image {:<12} {routes} routes, {grants} grants\n",
            server.name,
            server.role.name(),
            server.image
        ))?;
    }
    Ok(())
}
