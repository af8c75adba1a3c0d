//! `atoll swap`: one server for another in a running machine: one of its images, or one that is built and uploaded.

use std::fs;
use std::path::Path;

use atoll_manifest::bundle::{image, role};
use atoll_protocol::role::RoleKind;
use serde::Serialize;

use crate::bare::{self, Toolchain};
use crate::cli::{Asked, Common};
use crate::control::orders::Found;
use crate::control::{Line, orders, tables, upload};
use crate::error::{Error, Result};
use crate::place;
use crate::progress::Step;
use crate::shown::{document, print};

/// A swap, as JSON.
#[derive(Debug, Serialize)]
struct Swapped<'i> {
    #[serde(flatten)]
    found: Found,
    image: &'i str,
    held_ns: u64,
}

/// Swaps, and says how long the guest was held.
pub(super) fn run(
    server: &str,
    image: &str,
    force: bool,
    asked: &Asked,
    common: &Common,
) -> Result<()> {
    let name = &asked.which.name;
    let found = orders::find(&mut Line::open(name)?, server)?;
    // The line is not kept open over a build: others may want to ask meanwhile.
    let program = if is_directory(image) {
        Some(build(Path::new(image), &found, common)?)
    } else {
        None
    };
    let mut line = Line::open(name)?;
    let held = match program {
        Some(program) => {
            send(&mut line, &program)?;
            orders::swap_uploaded(&mut line, server, force)?
        }
        None => orders::swap(&mut line, server, image, force)?,
    };
    let held_ns =
        u128::from(held.0) * 1_000_000 / u128::from(tables::machine(&mut line)?.tsc_khz.max(1));
    let held_ns = u64::try_from(held_ns).unwrap_or(u64::MAX);
    if asked.json {
        return document(&Swapped {
            found,
            image,
            held_ns,
        });
    }
    let held_us = held_ns.div_ceil(1000);
    print(format!(
        "{}: {image} has taken its place; the guest was held for {held_us} us\n",
        found.server
    ))
}

/// Images have no '/' in their names.
fn is_directory(image: &str) -> bool {
    image.contains('/') || matches!(image, "." | "..")
}

/// Builds the server in this crate and checks it as if it went into a bundle; what is loaded of its program.
fn build(dir: &Path, found: &Found, common: &Common) -> Result<Vec<u8>> {
    let wanted = RoleKind::ALL
        .iter()
        .find(|(_, name)| *name == found.role)
        .map(|(kind, _)| *kind);
    let wanted = wanted.filter(|kind| *kind != RoleKind::Supervisor);
    let wanted = wanted.ok_or_else(|| Error::Usage {
        what: format!("'{}' cannot be swapped", found.server),
    })?;
    let program = bare::build::own(
        &place::workspace()?,
        &Toolchain::find(common.permission())?,
        dir,
    )?;
    let file = fs::read(&program).map_err(Error::file(&program))?;
    image::check(&found.server, &program, &file)?;
    role::check_own(dir, &program, &file, wanted)?;
    Ok(image::strip(&program, &file)?)
}

fn send(line: &mut Line, program: &[u8]) -> Result<()> {
    let all = program.len();
    Step::of("Uploading the server", |step| {
        upload::upload(line, program, |sent| {
            step.detail(&format!("{} of {} KiB", sent / 1024, all / 1024))
        })
    })
}
