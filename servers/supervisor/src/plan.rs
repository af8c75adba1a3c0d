//! The machine as the bundle describes it, checked as a whole before anything is built.

use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::{Manifest, ServerSpec};
use atoll_protocol::role::RoleKind;
use atoll_protocol::{SCHEMA_HASH, SERVERS, VERSION};
use atoll_sdk::bundle::Bundle;

use crate::Progress;
use crate::trouble::Trouble;

/// Guest memory comes in pages of this size.
const LARGE_PAGE: u64 = 2 << 20;

/// A checked manifest and the bundle it came in.
pub(crate) struct Plan<'b> {
    pub(crate) bundle: Bundle<'b>,
    manifest: Manifest<'b>,
    loader: u8,
    console: u8,
    keep: bool,
}

impl<'b> Plan<'b> {
    /// Reads and checks the bundle's manifest.
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, Trouble<'b>> {
        let bundle = Bundle::new(bytes);
        let manifest = bundle.find("manifest")?.ok_or(Trouble::NoManifest)?;
        let manifest: Manifest<'b> =
            postcard::from_bytes(manifest.bytes).map_err(|_| Trouble::Manifest)?;
        if manifest.version != VERSION {
            return Err(Trouble::Version(manifest.version));
        }
        if manifest.schema != SCHEMA_HASH {
            return Err(Trouble::Schema(manifest.schema));
        }
        if manifest.memory == 0 || !manifest.memory.is_multiple_of(LARGE_PAGE) {
            return Err(Trouble::Memory(manifest.memory));
        }
        if manifest.vcpus == 0 {
            return Err(Trouble::Vcpus(manifest.vcpus));
        }
        if manifest.servers == 0 || usize::from(manifest.servers) >= SERVERS {
            return Err(Trouble::Count(manifest.servers));
        }
        let found = manifest.servers().take(SERVERS).count();
        if found != usize::from(manifest.servers) {
            return Err(Trouble::Server(u8::try_from(found + 1).unwrap_or(u8::MAX)));
        }
        let loader = only(&manifest, RoleKind::Loader)?.ok_or(Trouble::Role(RoleKind::Loader))?;
        let console = only(&manifest, RoleKind::Console)?.unwrap_or(0);
        let keep = bundle.find("keep")?.is_some();
        Ok(Plan {
            bundle,
            manifest,
            loader,
            console,
            keep,
        })
    }

    /// Bytes of guest memory.
    pub(crate) fn memory(&self) -> Fixed<u64> {
        Fixed(self.manifest.memory)
    }

    /// Virtual CPUs.
    pub(crate) fn vcpus(&self) -> u8 {
        self.manifest.vcpus
    }

    /// All servers' parts of the manifest, from number 1.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServerSpec<'b>> + use<'b> {
        self.manifest.servers().take(SERVERS)
    }

    /// A server's part of the manifest, by its number from 1.
    pub(crate) fn server(&self, number: u8) -> Result<ServerSpec<'b>, Trouble<'b>> {
        self.manifest
            .servers()
            .nth(usize::from(number.saturating_sub(1)))
            .ok_or(Trouble::Server(number))
    }

    /// The state to begin with.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            phase: Progress::BUILDING,
            server: 1,
            servers: self.manifest.servers,
            loader: self.loader,
            console: self.console,
            code: 0,
            keep: u8::from(self.keep),
            ..Progress::default()
        }
    }
}

/// The number of the one server with this role, if there is one.
fn only<'b>(manifest: &Manifest<'b>, role: RoleKind) -> Result<Option<u8>, Trouble<'b>> {
    let mut numbers = (1..)
        .zip(manifest.servers())
        .filter(|(_, spec)| spec.role == role)
        .map(|(number, _)| number);
    match (numbers.next(), numbers.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Trouble::Role(role)),
    }
}
