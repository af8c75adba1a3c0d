//! How a machine is described, and what becomes of the description: a TOML manifest is checked, so that every mistake has its line
//! ([`text`] reads it, `resolve` judges it), packed into what the supervisor reads ([`pack`]), and put with the servers' programs and the
//! guest's files into the [`bundle`] that the kernel gets.
//!
//! This crate knows nothing of how any of it is built or booted. The host tool does that, and the simulated machine plays the same machines
//! on the host.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod error;
mod limits;
pub mod pack;
pub mod ranges;
mod resolve;
pub mod rights;
pub mod source;
pub mod text;

use std::fs;
use std::path::{Path, PathBuf};

use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::manifest::Restart;
use atoll_protocol::role::RoleKind;

pub use error::{Error, Result};
pub use resolve::{MEMORY_LEAST, MEMORY_UNIT};

/// The machine that boots Linux.
pub const LINUX: &str = include_str!("../../qemu/machines/linux.toml");
/// Its name in error messages.
pub const LINUX_NAME: &str = "qemu/machines/linux.toml";

/// An image's name, and where the manifest names it: file and line.
pub type Named = (String, (String, usize));

/// A checked machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Guest memory, in bytes.
    pub memory: u64,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// Whether Atoll stays after a server's fault.
    pub keep: bool,
    /// Bytes of the bundle for images that come while the machine runs.
    pub reserve: usize,
    /// Images that servers may be swapped for, and where the manifest names them.
    pub spares: Vec<Named>,
    /// The servers: the n-th is server n + 1.
    pub servers: Vec<Server>,
}

/// One server of it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: RoleKind,
    /// Its image's name.
    pub image: String,
    /// Whether the image may have instructions that no server should have.
    pub unchecked: bool,
    /// The crate whose program is its image, instead of one of Atoll's own.
    pub own: Option<PathBuf>,
    /// Where the manifest names the image: file and line.
    pub image_at: (String, usize),
    /// Its limits.
    pub limits: Limits,
    /// Its rights.
    pub grants: Vec<Grant>,
    /// The exits it gets.
    pub routes: Vec<Route>,
    /// Lines that it raises.
    pub lines: Vec<u8>,
    /// Servers that it may mail: names and numbers.
    pub peers: Vec<(String, u8)>,
    /// Its options, `key=value` lines.
    pub options: String,
    /// What is done when it is faulted.
    pub restart: Restart,
    /// The image that takes its place when restarts do not help.
    pub alternative: Option<Named>,
}

impl Machine {
    /// Gives the servers whose manifest names no budget another one, in microseconds.
    pub fn set_default_budget(&mut self, budget_us: u32) {
        let servers = self
            .servers
            .iter_mut()
            .filter(|server| u64::from(server.limits.budget_us) == limits::BUDGET);
        servers.for_each(|server| server.limits.budget_us = budget_us);
    }

    /// Reads and checks a manifest from a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The machine that boots Linux.
    pub fn linux() -> Result<Self> {
        Self::parse(LINUX_NAME, LINUX)
    }

    /// Puts the program of the crate in `dir` into the place of the server with this name, or else of the first with this role.
    pub fn replace(&mut self, server: &str, dir: &Path) -> Result<()> {
        let named = self.servers.iter().position(|found| found.name == server);
        let place = named.or_else(|| {
            self.servers
                .iter()
                .position(|found| found.role.name() == server)
        });
        match place.and_then(|place| self.servers.get_mut(place)) {
            Some(found) => {
                found.image = format!("own-{}", found.name);
                found.own = Some(dir.to_owned());
                Ok(())
            }
            None => {
                let known = self.servers.iter().map(|server| server.name.clone());
                Err(Error::NoServer {
                    server: server.to_owned(),
                    known: known.collect(),
                })
            }
        }
    }

    /// Makes sure that every server's image is among those that exist.
    pub fn check_images(&self, known: &[String]) -> Result<()> {
        let used = self
            .servers
            .iter()
            .filter(|server| server.own.is_none())
            .map(|server| (&server.image, &server.image_at));
        let alternatives = self
            .servers
            .iter()
            .filter_map(|server| server.alternative.as_ref());
        for (image, at) in used.chain(
            self.spares
                .iter()
                .chain(alternatives)
                .map(|(image, at)| (image, at)),
        ) {
            if !known.contains(image) {
                let (file, line) = at.clone();
                let what = format!("unknown image '{image}' (there are: {})", known.join(", "));
                return Err(Error::Manifest { file, line, what });
            }
        }
        Ok(())
    }

    /// Checks a manifest; `file` is its name in error messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let source = source::Source { file, text };
        resolve::resolve(&source, text::parse(&source)?)
    }
}
