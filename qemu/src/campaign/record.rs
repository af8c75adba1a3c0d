//! What an experiment leaves: one line of JSON, with everything that it depended on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::depends::Depends;
use super::grammar::Fault;
use super::journal::Event;
use super::outcome::{Difference, Outcome};

/// One experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name within the campaign.
    pub id: String,
    /// The campaign's name.
    pub campaign: String,
    /// SHA-256 of the plan.
    pub plan: String,
    /// Atoll's source: its commit, and whether there were changes beyond it.
    pub revision: String,
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
    /// For how long servers were held while others took their places: from the export of the state to the start of what comes then, in ticks.
    pub blackout_ticks: Vec<u64>,
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

impl Record {
    /// Whether the fault that it is about hit something: the first, since a series' others are there each time.
    #[must_use]
    pub fn activated(&self) -> bool {
        self.hits(0) > 0
    }

    /// How often the fault in this place happened.
    #[must_use]
    pub fn hits(&self, place: u8) -> u32 {
        let hit =
            |event: &&Event| matches!(event, Event::Injected { entry, .. } if *entry == place);
        self.events.iter().filter(hit).count() as u32
    }

    /// Whether it went as `other` did: outcome, console, and all that happened, with its time.
    #[must_use]
    pub fn equals(&self, other: &Record) -> bool {
        self.outcome == other.outcome
            && self.console == other.console
            && self.events == other.events
    }

    /// Whether nothing was to be injected.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.faults.is_empty()
    }
}

/// SHA-256 of bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
