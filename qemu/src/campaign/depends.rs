//! What an experiment depends on: everything that must be as it was for a record to replay.

use atoll_protocol::{SCHEMA_HASH, VERSION};
use serde::{Deserialize, Serialize};

use super::lab::program::hash_of_loaded;
use super::lab::snapshot::hash_of;
use super::lab::{Lab, Snapshot};
use crate::error::Result;

/// What a run depends on: where all of this is equal, the run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depends {
    /// Version of the protocol, and its schema.
    pub protocol: String,
    /// SHA-256 of what is loaded of Atoll's kernel: it is the same wherever it was built.
    pub kernel: String,
    /// SHA-256 of the bundle: servers, manifest, the guest's kernel and initial RAM disk.
    pub bundle: String,
    /// The servers, by number.
    pub servers: Vec<String>,
    /// SHA-256 of the guest's kernel.
    pub guest_kernel: String,
    /// SHA-256 of its initial RAM disk.
    pub initrd: String,
    /// Its command line.
    pub command_line: String,
    /// QEMU's version.
    pub qemu: String,
    /// SHA-256 of QEMU's program.
    pub emulator: String,
    /// QEMU's arguments, without directories.
    pub arguments: String,
    /// When the snapshot was taken that the run went on from, in ticks: its lineage is a boot without faults up to then.
    pub from: u64,
    /// When runs go on from there, by the clock of the second activation.
    pub reached: u64,
    /// SHA-256 of the snapshot's memory.
    pub snapshot: String,
    /// What was waited for and typed, in turn.
    pub input: String,
}

impl Depends {
    /// Those of a phase in a laboratory.
    pub fn of(lab: &Lab, snapshot: &Snapshot, input: &str) -> Result<Self> {
        let (major, minor, patch) = lab.emulator.version;
        Ok(Self {
            protocol: format!("{VERSION}/{SCHEMA_HASH:016x}"),
            kernel: hash_of_loaded(&lab.kernel)?,
            bundle: hash_of(&lab.bundle)?,
            servers: lab.names.all().map(str::to_owned).collect(),
            guest_kernel: lab.guest.kernel.clone(),
            initrd: lab.guest.initrd.clone(),
            command_line: lab.guest.command_line.clone(),
            qemu: format!("{major}.{minor}.{patch}"),
            emulator: hash_of(&lab.emulator.program)?,
            arguments: lab.arguments(),
            from: snapshot.at,
            reached: snapshot.reached,
            snapshot: snapshot.hash.clone(),
            input: input.to_owned(),
        })
    }

    /// The same, with the snapshot of `other`: at another instant, but of the same machine.
    #[must_use]
    pub fn on(&self, other: &Depends) -> Self {
        let Depends {
            from,
            reached,
            snapshot,
            ..
        } = other;
        Self {
            from: *from,
            reached: *reached,
            snapshot: snapshot.clone(),
            ..self.clone()
        }
    }

    /// What differs, one line each: what the record says, and what is here.
    #[must_use]
    pub fn differences(&self, here: &Depends) -> Vec<String> {
        let both = |one: &Depends| {
            serde_json::to_value(one)
                .ok()
                .and_then(|value| value.as_object().cloned())
                .unwrap_or_default()
        };
        let (recorded, here) = (both(self), both(here));
        let differs = recorded
            .iter()
            .filter(|(key, value)| here.get(*key) != Some(value));
        differs
            .map(|(key, value)| {
                format!(
                    "{key}: {value} in the record, {} here",
                    here.get(key).unwrap_or_default()
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let here = Depends {
            protocol: "4/0".into(),
            kernel: "a".into(),
            bundle: "b".into(),
            qemu: "7.2.22".into(),
            emulator: "q".into(),
            arguments: "-m 1M".into(),
            servers: Vec::new(),
            guest_kernel: "g".into(),
            initrd: "i".into(),
            command_line: "quiet".into(),
            from: 1,
            reached: 2,
            snapshot: "c".into(),
            input: String::new(),
        };
        let recorded = Depends {
            kernel: "x".into(),
            ..here.clone()
        };
        assert_eq!(
            recorded.differences(&here),
            [r#"kernel: "x" in the record, "a" here"#]
        );
        assert!(here.differences(&here).is_empty());
    }
}
