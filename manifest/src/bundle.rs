//! The bundle: everything that Atoll's kernel gets, in one `ustar` archive that QEMU loads as an initial RAM disk (its layout is
//! described in [`atoll_protocol::manifest`]).

pub mod image;
pub mod instructions;
pub mod role;
#[cfg(test)]
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::{Machine, Server};

/// What the loader clears guest memory with, a piece of this size per effect.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Where the images' programs are.
pub trait Programs {
    /// The program of the image with this name.
    fn program(&self, image: &str) -> PathBuf;
}

/// The guest's part.
#[derive(Clone, Debug)]
pub struct GuestFiles<'g> {
    /// What its kernel is called.
    pub name: &'g str,
    /// Its kernel.
    pub kernel: &'g [u8],
    /// Its initial RAM disk.
    pub initrd: Option<&'g [u8]>,
    /// A multiboot kernel's modules, each with its text.
    pub modules: &'g [(String, Vec<u8>)],
    /// Its command line.
    pub command_line: &'g str,
}

/// Packs a bundle of `machine`, whose images are in `programs`, and the guest's files.
pub fn pack(
    machine: &Machine,
    programs: &impl Programs,
    guest: &GuestFiles<'_>,
) -> Result<Vec<u8>> {
    let mut archive = Archive(tar::Builder::new(Vec::new()));
    let supervisor = programs.program("supervisor");
    let file = read(&supervisor)?;
    image::check("supervisor", &supervisor, &file)?;
    check_roles(machine, programs)?;
    archive.add("supervisor", &image::flatten(&supervisor, &file)?)?;
    archive.add("manifest", &machine.pack()?)?;
    if machine.keep {
        archive.add("keep", &[])?;
    }
    let mut images: BTreeMap<&str, Vec<&Server>> = BTreeMap::new();
    for server in &machine.servers {
        images.entry(&server.image).or_default().push(server);
    }
    for (name, servers) in images {
        let path = programs.program(name);
        let file = read(&path)?;
        if let Some(server) = servers.iter().find(|server| !server.unchecked) {
            image::check(&server.name, &path, &file)?;
        }
        archive.add(&format!("image/{name}"), &image::strip(&path, &file)?)?;
    }
    let alternatives = machine
        .servers
        .iter()
        .filter_map(|server| server.alternative.as_ref());
    let others: BTreeSet<&str> = machine
        .spares
        .iter()
        .chain(alternatives)
        .map(|(name, _)| name.as_str())
        .collect();
    for name in others
        .into_iter()
        .filter(|name| !machine.servers.iter().any(|server| server.image == *name))
    {
        let path = programs.program(name);
        let file = read(&path)?;
        image::check(name, &path, &file)?;
        archive.add(&format!("image/{name}"), &image::strip(&path, &file)?)?;
    }
    archive.add("zeros", &ZEROS)?;
    archive.add("guest/name", guest.name.as_bytes())?;
    archive.add("guest/kernel", guest.kernel)?;
    if let Some(initrd) = guest.initrd {
        archive.add("guest/initrd", initrd)?;
    }
    for (number, (text, module)) in (1..).zip(guest.modules) {
        archive.add(&format!("guest/module/{number}"), module)?;
        archive.add(&format!("guest/module/{number}/cmdline"), text.as_bytes())?;
    }
    archive.add("guest/cmdline", guest.command_line.as_bytes())?;
    // The last: from here on the bundle may be written.
    archive.add("reserve", &vec![0; machine.reserve])?;
    archive.0.into_inner().map_err(Error::packing)
}

/// Makes sure that each server's image is of its role, and its alternative, too.
pub fn check_roles(machine: &Machine, programs: &impl Programs) -> Result<()> {
    for server in &machine.servers {
        let named = (&server.image, &server.image_at);
        let alternative = server.alternative.as_ref().map(|(image, at)| (image, at));
        for (image, at) in core::iter::once(named).chain(alternative) {
            let program = programs.program(image);
            let file = read(&program)?;
            if let Some(dir) = server.own.as_ref().filter(|_| *image == server.image) {
                role::check_own(dir, &program, &file, server.role)?;
            } else if let Some(what) = role::objection(&program, &file, server.role, true)? {
                let (file, line) = at.clone();
                return Err(Error::Manifest {
                    file,
                    line,
                    what: format!("server '{}': image '{image}' {what}", server.name),
                });
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file(path))
}

struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn add(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        self.0
            .append_data(&mut header, name, content)
            .map_err(Error::packing)
    }
}
