//! The manifest as it is written, with the place of everything that can be wrong.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Result;
use crate::source::Source;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestText {
    /// Version of this form.
    pub manifest: Spanned<u32>,
    /// The machine.
    pub vm: VmText,
    /// The servers.
    pub server: BTreeMap<Spanned<String>, ServerText>,
}

/// `[vm]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmText {
    /// Guest memory.
    pub memory: Spanned<String>,
    /// Virtual CPUs.
    pub vcpus: Spanned<u8>,
    /// Images that servers may be swapped for, beside those that are in use.
    #[serde(default)]
    pub spares: Vec<Spanned<String>>,
    /// Room for images that come while the machine runs.
    pub reserve: Option<Spanned<String>>,
    /// Whether Atoll stays after a server's fault, so that it can be asked; only the guest is stopped then.
    #[serde(default)]
    pub keep: bool,
}

/// `[server.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerText {
    /// Its role.
    pub role: Spanned<String>,
    /// Its image.
    pub image: Spanned<String>,
    /// Whether the image may have instructions that no server should have: for tests of what happens then.
    #[serde(default)]
    pub unchecked: bool,
    /// Ports of the guest that it answers.
    #[serde(default)]
    pub ports: Vec<Spanned<String>>,
    /// MSRs that it answers.
    #[serde(default)]
    pub msrs: Vec<Spanned<String>>,
    /// Device memory that it answers.
    #[serde(default)]
    pub memory: Vec<Spanned<String>>,
    /// Classes of exits that it gets.
    #[serde(default)]
    pub exits: Vec<Spanned<String>>,
    /// Ports of the host that it drives.
    #[serde(default)]
    pub host_ports: Vec<Spanned<String>>,
    /// Interrupts of the host that it is told of.
    #[serde(default)]
    pub host_irqs: Vec<Spanned<u8>>,
    /// Interrupt lines of the guest that it drives.
    #[serde(default)]
    pub raises: Vec<Spanned<u8>>,
    /// Whom it may write to, and how many letters may be undelivered.
    #[serde(default)]
    pub mail: BTreeMap<Spanned<String>, Spanned<u8>>,
    /// What it may do to guest memory: `none`, `read`, `write` (and read).
    pub guest_memory: Option<Spanned<String>>,
    /// Whether it sees the bundle.
    pub bundle: Option<Spanned<bool>>,
    /// Bytes of its vault.
    pub vault: Option<Spanned<String>>,
    /// Bytes of its stack.
    pub stack: Option<Spanned<String>>,
    /// Timers.
    pub timers: Option<Spanned<u8>>,
    /// Longest activation.
    pub budget: Option<Spanned<String>>,
    /// Most run time per 100 ms.
    pub period: Option<Spanned<String>>,
    /// What is done when it is faulted.
    pub restart: Option<RestartText>,
    /// Its own options.
    #[serde(default)]
    pub options: BTreeMap<String, Spanned<toml::Value>>,
}

/// `restart = { attempts = 3, per_minute = 30, then = "quarantine" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartText {
    /// How often it is restarted over one message.
    pub attempts: Option<u8>,
    /// How often it is restarted in a minute, whatever the message.
    pub per_minute: Option<Spanned<u8>>,
    /// What is done then: `quarantine`, `stop`, or a table with the name of an `image`.
    pub then: Option<Spanned<toml::Value>>,
}

/// Reads the form; an unknown field, a missing one, or one of the wrong type is refused.
pub fn parse(source: &Source<'_>) -> Result<ManifestText> {
    toml::from_str(source.text).map_err(|error| {
        source.error(
            error.span().unwrap_or(0..0),
            error
                .message()
                .lines()
                .next()
                .unwrap_or("is not a manifest"),
        )
    })
}
