//! The machine as the host tool packs it into the bundle: the TOML manifest, checked and resolved.
//!
//! A bundle is an uncompressed `ustar` archive. Its first file is `supervisor` (a flat image, see [`ImageHeader`], since the kernel
//! does not parse ELF), its second `manifest` (a postcard [`Manifest`]); the rest are server images (ELF, under `image/`), the
//! guest's files (under `guest/`), and `zeros`, with which the loader clears guest memory.

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::grant::{Grant, Limits, Route};
use crate::role::RoleKind;

/// First bytes of the supervisor's image.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ImageHeader {
    /// [`ImageHeader::MAGIC`].
    pub magic: u64,
    /// [`crate::VERSION`].
    pub version: u32,
    /// Segments that follow, each an [`crate::effect::Segment`] whose offset counts from this header.
    pub segments: u32,
    /// Entry point.
    pub entry: u64,
    /// [`crate::SCHEMA_HASH`] of the tool that wrote it.
    pub schema: u64,
}

impl ImageHeader {
    /// "ATOLLIMG" in little-endian.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOLLIMG");
}

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Manifest<'m> {
    /// [`crate::VERSION`] of the tool that wrote it.
    pub version: u32,
    /// [`crate::SCHEMA_HASH`] of that tool.
    pub schema: u64,
    /// Guest memory, in bytes; a multiple of 2 MiB.
    pub memory: u64,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// How many [`ServerSpec`]s follow, back to back; the n-th is server n + 1 (the supervisor is 0).
    pub servers: u8,
    /// The specs, to be read with [`Manifest::servers`].
    #[serde(borrow)]
    pub specs: &'m [u8],
}

/// One server of a machine. Its lists are postcard values back to back, to be read with [`items`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ServerSpec<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its role.
    pub role: RoleKind,
    /// Its image's name in the bundle, without `image/`.
    pub image: &'m str,
    /// Its limits.
    pub limits: Limits,
    /// [`Grant`]s.
    pub grants: &'m [u8],
    /// [`Route`]s.
    pub routes: &'m [u8],
    /// Its configuration, handed to `Server::start`.
    pub config: &'m [u8],
    /// What is done when it is faulted.
    pub restart: Restart,
    /// The image, without `image/`, that takes its place when restarts have not helped, before [`Restart::then`].
    pub alternative: Option<&'m str>,
}

/// What the supervisor does about a server's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Restart {
    /// How often it is restarted over one message: at once, then after a pause that doubles.
    pub attempts: u8,
    /// How often it is restarted in a minute, whatever the message: at once up to the half, then after a pause that doubles. Faults that
    /// were asked for or injected do not count.
    pub per_minute: u8,
    /// What is done when that has not helped.
    pub then: Then,
}

/// What is done with a server whose restarts do not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Then {
    /// Its operations are completed as its role declares.
    Quarantine,
    /// The virtual machine stops with a report.
    Stop,
}

/// Values that stand back to back in `bytes`; ends at the first that does not decode.
pub fn items<'m, T: Deserialize<'m>>(mut bytes: &'m [u8]) -> impl Iterator<Item = T> + Clone {
    core::iter::from_fn(move || {
        let (item, rest) = postcard::take_from_bytes(bytes).ok()?;
        bytes = rest;
        Some(item)
    })
}

impl<'m> Manifest<'m> {
    /// The servers, in the order of their numbers.
    pub fn servers(&self) -> impl Iterator<Item = ServerSpec<'m>> + use<'m> {
        items(self.specs)
    }
}

impl<'m> ServerSpec<'m> {
    /// Its rights.
    pub fn grants(&self) -> impl Iterator<Item = Grant> + use<'m> {
        items(self.grants)
    }

    /// The exits it gets.
    pub fn routes(&self) -> impl Iterator<Item = Route> + use<'m> {
        items(self.routes)
    }
}

/// A server's surroundings as `Server::start` gets them: its part of the manifest, with names resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Setup<'m> {
    /// Lines that it raises, one byte each, in the manifest's order.
    pub lines: &'m [u8],
    /// Servers that it may mail: (name, number) pairs, to be read with [`Setup::peer`].
    pub peers: &'m [u8],
    /// Its own options, `key=value` lines.
    pub options: &'m str,
}

impl<'m> Setup<'m> {
    /// The number of a server that it may mail.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<crate::units::ServerId> {
        items::<(&str, crate::units::ServerId)>(self.peers)
            .find(|(peer, _)| *peer == name)
            .map(|(_, id)| id)
    }

    /// The line that it raises, by its place in the manifest's list.
    #[must_use]
    pub fn line(&self, place: usize) -> Option<crate::units::LineId> {
        self.lines
            .get(place)
            .and_then(|line| crate::units::LineId::new(*line))
    }

    /// An option's value.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&'m str> {
        self.options.lines().find_map(|line| {
            line.split_once('=')
                .filter(|(k, _)| *k == key)
                .map(|(_, value)| value)
        })
    }

    /// An option's value as a number, decimal or hexadecimal with `0x`; `None` if the option is not there.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<Result<u64, core::num::ParseIntError>> {
        self.option(key).map(|text| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        })
    }
}
