//! What an experiment leaves: one line of JSON, with everything that it depended on.

use atoll_protocol::{SCHEMA_HASH, VERSION};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grammar::Fault;
use super::journal::Event;
use super::lab::snapshot::hash_of;
use super::lab::{Lab, Snapshot};
use super::outcome::{Difference, Outcome};
use crate::error::Result;

/// One experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name within the campaign.
    pub id: String,
    /// The campaign's name.
    pub campaign: String,
    /// SHA-256 of the plan.
    pub plan: String,
    /// The phase.
    pub phase: String,
    /// The faults, as they were asked for.
    pub faults: Vec<Fault>,
    /// How it went.
    pub outcome: Outcome,
    /// How QEMU ended.
    pub end: String,
    /// How many faults were injected.
    pub injected: usize,
    /// How many servers' faults Atoll detected.
    pub detected: usize,
    /// How many servers answered again afterwards.
    pub recovered: usize,
    /// From injection to detection, in ticks.
    pub detect_ticks: Vec<u64>,
    /// From detection to the server's start, in ticks.
    pub restart_ticks: Vec<u64>,
    /// From detection to the first answer after it, in ticks.
    pub recover_ticks: Vec<u64>,
    /// What happened.
    pub events: Vec<Event>,
    /// Exits of the guest, if the kernel lived to count them.
    pub exits: Option<u64>,
    /// Virtual time from the beginning to the end, in ticks.
    pub ticks: Option<u64>,
    /// Where the console differs from the golden run's.
    pub difference: Option<Difference>,
    /// SHA-256 of the console.
    pub console: String,
    /// The console's end, where the guest was not as well off as without the fault.
    pub tail: Vec<String>,
    /// The kernel's log, there likewise.
    pub dump: Vec<String>,
    /// How long the run took, in milliseconds of the host's clock. Nothing depends on it.
    pub wall_ms: u64,
    /// What it depends on.
    pub depends: Depends,
    /// The command that does it again.
    pub replay: String,
}

/// What a run depends on: where all of this is equal, the run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depends {
    /// Version of the protocol, and its schema.
    pub protocol: String,
    /// SHA-256 of Atoll's kernel.
    pub kernel: String,
    /// SHA-256 of the bundle: servers, manifest, the guest's kernel and initial RAM disk.
    pub bundle: String,
    /// QEMU's version.
    pub qemu: String,
    /// When the snapshot was taken that the run went on from, in ticks: its lineage is a boot without faults up to then.
    pub from: u64,
    /// When the machine was stopped there, by the clock of its last activation.
    pub reached: u64,
    /// SHA-256 of the snapshot's memory.
    pub snapshot: String,
    /// What was typed.
    pub input: String,
}

impl Depends {
    /// Those of a phase in a laboratory.
    pub fn of(lab: &Lab, snapshot: &Snapshot, input: &str) -> Result<Self> {
        Ok(Self {
            protocol: format!("{VERSION}/{SCHEMA_HASH:016x}"),
            kernel: hash_of(&lab.kernel)?,
            bundle: hash_of(&lab.bundle)?,
            qemu: version(lab.emulator.version),
            from: snapshot.at,
            reached: snapshot.reached,
            snapshot: snapshot.hash.clone(),
            input: input.to_owned(),
        })
    }

    /// What differs, one line each: what the record says, and what is here.
    #[must_use]
    pub fn differences(&self, here: &Depends) -> Vec<String> {
        let both =
            |one: &Depends| serde_json::to_value(one).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default();
        let (recorded, here) = (both(self), both(here));
        let differs = recorded.iter().filter(|(key, value)| here.get(*key) != Some(value));
        differs.map(|(key, value)| format!("{key}: {value} in the record, {} here", here.get(key).unwrap_or_default())).collect()
    }
}

/// SHA-256 of bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
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
            from: 1,
            reached: 2,
            snapshot: "c".into(),
            input: String::new(),
        };
        let recorded = Depends { kernel: "x".into(), ..here.clone() };
        assert_eq!(recorded.differences(&here), [r#"kernel: "x" in the record, "a" here"#]);
        assert!(here.differences(&here).is_empty());
    }
}
