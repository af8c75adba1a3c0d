//! The bundle: everything that Atoll's kernel gets, in one `ustar` archive that QEMU loads as an initial RAM disk (its layout is
//! described in [`atoll_protocol::manifest`]).

pub mod image;
pub mod instructions;
pub mod role;
#[cfg(test)]
mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::bare::Built;
use crate::error::{Error, Result};
use crate::machine::{Machine, Server};

/// What the loader clears guest memory with, a piece of this size per effect.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// The guest's part.
#[derive(Clone, Debug)]
pub struct GuestFiles<'g> {
    /// Its kernel.
    pub kernel: &'g [u8],
    /// Its initial RAM disk.
    pub initrd: Option<&'g [u8]>,
    /// Its command line.
    pub command_line: &'g str,
}

/// Packs a bundle of `machine`, whose images are in `built`, and the guest's files.
pub fn pack(machine: &Machine, built: &Built, guest: &GuestFiles<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive(tar::Builder::new(Vec::new()));
    let supervisor = built.program("supervisor");
    let file = read(&supervisor)?;
    image::check("supervisor", &supervisor, &file)?;
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
        let path = built.program(name);
        let file = read(&path)?;
        if let Some(server) = servers.iter().find(|server| !server.unchecked) {
            image::check(&server.name, &path, &file)?;
        }
        servers.iter().try_for_each(|server| check_role(server, &path, &file))?;
        archive.add(&format!("image/{name}"), &image::strip(&path, &file)?)?;
    }
    for name in
        machine.spares.iter().map(|(name, _)| name).filter(|name| !machine.servers.iter().any(|server| server.image == **name))
    {
        let path = built.program(name);
        let file = read(&path)?;
        image::check(name, &path, &file)?;
        archive.add(&format!("image/{name}"), &image::strip(&path, &file)?)?;
    }
    archive.add("zeros", &ZEROS)?;
    archive.add("guest/kernel", guest.kernel)?;
    if let Some(initrd) = guest.initrd {
        archive.add("guest/initrd", initrd)?;
    }
    archive.add("guest/cmdline", guest.command_line.as_bytes())?;
    // The last: from here on the bundle may be written.
    archive.add("reserve", &vec![0; machine.reserve])?;
    archive.0.into_inner().map_err(Error::file("the bundle"))
}

/// Makes sure that this program is of the server's role.
fn check_role(server: &Server, program: &Path, file: &[u8]) -> Result<()> {
    if let Some(dir) = &server.own {
        return role::check_own(dir, program, file, server.role);
    }
    match role::objection(program, file, server.role, true)? {
        Some(what) => {
            let (file, line) = server.image_at.clone();
            Err(Error::Manifest { file, line, what: format!("server '{}': image '{}' {what}", server.name, server.image) })
        }
        None => Ok(()),
    }
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
        self.0.append_data(&mut header, name, content).map_err(Error::file("the bundle"))
    }
}
