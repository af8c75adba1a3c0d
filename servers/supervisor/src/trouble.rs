//! What can be wrong with a bundle.

use core::fmt;

use atoll_protocol::role::RoleKind;
use atoll_sdk::bundle::Broken;

use crate::image::BadImage;

/// Why no machine can be built from the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble<'b> {
    /// The archive is broken.
    Archive(Broken),
    /// It has no manifest.
    NoManifest,
    /// The manifest does not decode.
    Manifest,
    /// The manifest is of another version of the protocol.
    Version(u32),
    /// The manifest is of that version, but of another schema.
    Schema(u64),
    /// Guest memory of no size that can be mapped.
    Memory(u64),
    /// A number of virtual CPUs that cannot be.
    Vcpus(u8),
    /// More servers than a machine has, or none.
    Count(u8),
    /// This role is there more than once, or not at all.
    Role(RoleKind),
    /// This server's part of the manifest does not decode.
    Server(u8),
    /// This server's rights, routes, segments and configuration do not fit one answer.
    TooMuch(&'b str),
    /// This server's image is not in the bundle.
    NoImage(&'b str, &'b str),
    /// There is too little memory for it: what it takes, and what is left, in KiB.
    NoMemory(&'b str, u64, u64),
    /// This server's image is bad.
    Image(&'b str, BadImage),
}

impl From<Broken> for Trouble<'_> {
    fn from(broken: Broken) -> Self {
        Trouble::Archive(broken)
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Archive(broken) => write!(f, "{broken}"),
            Trouble::NoManifest => f.write_str("the bundle has no `manifest`"),
            Trouble::Manifest => f.write_str("the manifest does not decode"),
            Trouble::Version(version) => {
                write!(
                    f,
                    "the manifest is of protocol version {version}, this supervisor of version {}",
                    atoll_protocol::VERSION
                )
            }
            Trouble::Schema(schema) => {
                write!(
                    f,
                    "the manifest is of schema {schema:016x}, this supervisor of {:016x}",
                    atoll_protocol::SCHEMA_HASH
                )
            }
            Trouble::Memory(memory) => write!(
                f,
                "{memory} bytes of guest memory are no multiple of 2 MiB above 0"
            ),
            Trouble::Vcpus(vcpus) => {
                write!(f, "a machine with {vcpus} virtual CPUs cannot be built")
            }
            Trouble::Count(count) => write!(
                f,
                "{count} servers: a machine has 1 to {}",
                atoll_protocol::SERVERS - 1
            ),
            Trouble::Role(role) => write!(
                f,
                "a machine has exactly one server with the role `{}`",
                role.name()
            ),
            Trouble::Server(number) => {
                write!(f, "the manifest's part on server {number} does not decode")
            }
            Trouble::TooMuch(name) => write!(
                f,
                "server `{name}`: its rights and its configuration do not fit one answer"
            ),
            Trouble::NoImage(name, image) => {
                write!(f, "server `{name}`: the bundle has no `image/{image}`")
            }
            Trouble::NoMemory(name, needed, free) => {
                write!(
                    f,
                    "`{name}` takes {needed} KiB of memory, of which {free} KiB are left: start the host with more"
                )
            }
            Trouble::Image(name, bad) => write!(f, "server `{name}`: its image {bad}"),
        }
    }
}
