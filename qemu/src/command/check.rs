//! `atoll check`: whether a manifest describes a machine, without booting it.

use std::path::Path;

use crate::error::Result;
use crate::machine::Machine;
use crate::{bare, place};

/// Checks it and prints what it describes.
pub(super) fn run(path: &Path) -> Result<()> {
    let machine = Machine::load(path)?;
    machine.check_images(&bare::build::images(&place::workspace()?)?)?;
    println!("{}: {} MiB, {} vcpu, {} servers", path.display(), machine.memory >> 20, machine.vcpus, machine.servers.len());
    for (number, server) in (1..).zip(&machine.servers) {
        let (routes, grants) = (server.routes.len(), server.grants.len());
        println!(
            "  {number:2} {:<12} {:<10} image {:<12} {routes} routes, {grants} grants",
            server.name,
            server.role.name(),
            server.image
        );
    }
    Ok(())
}
