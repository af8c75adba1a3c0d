//! One experiment: from the phase's snapshot, with a plan in the kernel's page, to the guest's end.

use std::path::Path;
use std::time::Duration;

use atoll_protocol::inject::Plan as Page;

use super::depends::Depends;
use super::grammar::Fault;
use super::journal::Journal;
use super::lab::{Begin, Collected, Lab, Snapshot};
use super::outcome::{Console, Outcome, Seen, classify};
use super::plan::{Phase, Plan};
use super::record::{Record, sha256};
use super::sweep::Experiment;
use crate::error::{Error, Result};
use crate::progress::Step;
use crate::run::End;

/// Virtual time that a guest gets beyond the golden run's end: three times what that took, and this much, in ticks. A guest that hangs in
/// a loop of PAUSE takes QEMU 80 times as long by the host's clock.
const MORE: u64 = 3_000_000_000;
/// Virtual time that the golden run gets, in ticks.
const ENDLESS: u64 = 3_600_000_000_000;
/// The plan's number: any but the one under which the snapshot was taken.
const SEQUENCE: u64 = 2;
/// Lines of the console and of the log that a record keeps.
const TAIL: usize = 25;
/// Lines of the log from the first fault on that a record keeps.
const DUMP: usize = 120;

/// Where a record comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The campaign's name.
    pub campaign: String,
    /// SHA-256 of its plan.
    pub plan: String,
    /// Atoll's source: its commit, and whether there were changes beyond it.
    pub revision: String,
    /// The directory of its records.
    pub dir: String,
}

/// A phase, ready for experiments.
#[derive(Debug)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    snapshot: Snapshot,
    dialogue: String,
    /// The golden run's console.
    golden: Console,
    times: Vec<regex::Regex>,
    /// The golden run's journal.
    pub journal: Journal,
    until: u64,
    wall: Duration,
    depends: Depends,
}

impl Prepared {
    /// Takes the snapshot, at the same instant as `before` if that is known already, and makes the golden run twice: what does not repeat cannot be compared.
    pub fn new(
        lab: &Lab,
        plan: &Plan,
        phase: &Phase,
        before: Option<&Depends>,
        dir: &Path,
    ) -> Result<Self> {
        let begin = match before {
            Some(before) => Begin::Time(before.from),
            None => phase.begin().map_err(|what| Error::Usage { what })?,
        };
        let snapshot = Snapshot::take(
            lab,
            &begin,
            before.map(|before| before.reached),
            &dir.join(&phase.name),
        )?;
        let (dialogue, snapshot_at) = (phase.dialogue(), snapshot.at);
        let depends = Depends::of(lab, &snapshot, &dialogue)?;
        let mut prepared = Self {
            name: phase.name.clone(),
            snapshot,
            dialogue,
            golden: Console::default(),
            times: phase.times().map_err(|what| Error::Usage { what })?,
            journal: Journal::default(),
            // A run that has a limit takes other instructions than one that has none: all of them have one.
            until: snapshot_at.saturating_add(ENDLESS),
            wall: Duration::from_secs(plan.timeout),
            depends,
        };
        let _step = Step::begin(format!("Making the golden runs of '{}'", phase.name));
        let (first, journal) = prepared.golden_run(lab)?;
        let (second, again) = prepared.golden_run(lab)?;
        if first.console != second.console || journal != again {
            return Err(Error::program(
                "the golden run",
                format_args!("of phase '{}' does not repeat bit by bit", phase.name),
            ));
        }
        let (_, end) = journal.end.unwrap_or_default();
        prepared.until = end
            .saturating_add(3 * end.saturating_sub(prepared.snapshot.at))
            .saturating_add(MORE);
        let path = dir.join(&phase.name).join("console");
        std::fs::write(&path, &first.console).map_err(Error::file(&path))?;
        (prepared.golden, prepared.journal) =
            (Console::of(&first.console, &prepared.times), journal);
        Ok(prepared)
    }

    fn golden_run(&self, lab: &Lab) -> Result<(Collected, Journal)> {
        let collected = self.run(lab, &[])?;
        let journal = Journal::read(&collected.log);
        match self.end_of(&collected) {
            Some(End::PowerOff) if journal.detected() > 0 => {
                let first = collected
                    .log
                    .lines()
                    .find(|line| line.contains("inject: detected"))
                    .unwrap_or_default();
                Err(Error::program(
                    "the golden run",
                    format_args!("of phase '{}' has a fault of its own: {first}", self.name),
                ))
            }
            Some(End::PowerOff) => Ok((collected, journal)),
            end => {
                let text = String::from_utf8_lossy(&collected.console).into_owned();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                let what = format!(
                    "of phase '{}' ended with {end:?} instead of a power-off; {tail:?}",
                    self.name
                );
                Err(Error::program("the golden run", what))
            }
        }
    }

    fn run(&self, lab: &Lab, faults: &[Fault]) -> Result<Collected> {
        let dir = tempfile::Builder::new()
            .prefix("atoll-")
            .tempdir()
            .map_err(Error::file(std::env::temp_dir()))?;
        let mut machine = self.snapshot.restore(lab, dir.path())?;
        let page = Fault::plan(faults, &lab.names).map_err(|what| Error::Usage { what })?;
        let until = self.until.saturating_add(lab.patience(faults));
        let mut page = Page {
            sequence: SEQUENCE,
            until,
            dialogue: self.dialogue.len() as u64,
            ..page
        };
        page.text
            .iter_mut()
            .zip(self.dialogue.bytes())
            .for_each(|(to, from)| *to = from);
        machine.leave(&page)?;
        machine.finish(self.wall)
    }

    fn end_of(&self, collected: &Collected) -> Option<End> {
        collected.exit.map(End::of_atoll)
    }

    /// What its runs depend on.
    #[must_use]
    pub fn depends(&self) -> &Depends {
        &self.depends
    }

    /// Runs an experiment. What goes wrong with it is its outcome.
    #[must_use]
    pub fn experiment(&self, lab: &Lab, of: &Origin, experiment: &Experiment) -> Record {
        let mut record = Record {
            id: experiment.id.clone(),
            campaign: of.campaign.clone(),
            plan: of.plan.clone(),
            revision: of.revision.clone(),
            phase: self.name.clone(),
            faults: experiment.faults.clone(),
            outcome: Outcome::HarnessError,
            end: String::new(),
            injected: 0,
            detected: 0,
            recovered: 0,
            detect_ticks: Vec::new(),
            restart_ticks: Vec::new(),
            recover_ticks: Vec::new(),
            blackout_ticks: Vec::new(),
            events: Vec::new(),
            exits: None,
            ticks: None,
            difference: None,
            console: String::new(),
            tail: Vec::new(),
            dump: Vec::new(),
            wall_ms: 0,
            depends: self.depends.clone(),
            replay: format!("atoll campaign replay {} --out {}", experiment.id, of.dir),
        };
        match self.run(lab, &experiment.faults) {
            Ok(collected) => self.fill(&mut record, &collected),
            Err(error) => record.end = error.to_string(),
        }
        record
    }

    fn fill(&self, record: &mut Record, collected: &Collected) {
        let journal = Journal::read(&collected.log);
        let end = self.end_of(collected);
        let console = Console::of(&collected.console, &self.times);
        let seen = Seen {
            end: end.as_ref(),
            console: &console,
            journal: &journal,
        };
        (record.outcome, record.difference) = classify(&seen, &self.golden);
        record.end = match &end {
            Some(end) if collected.complaints.is_empty() => format!("{end:?}"),
            Some(end) => format!("{end:?} ({})", collected.complaints),
            None => "the host's clock ended it".into(),
        };
        (record.injected, record.detected, record.recovered) =
            (journal.injected(), journal.detected(), journal.recovered());
        record.detect_ticks = journal.detection_latencies();
        record.restart_ticks = journal.restart_latencies();
        record.recover_ticks = journal.recovery_latencies();
        record.blackout_ticks = journal.blackouts();
        record.exits = journal.end.map(|(exits, _)| exits);
        record.ticks = journal
            .end
            .map(|(_, at)| at.saturating_sub(self.snapshot.at));
        record.console = sha256(&collected.console);
        record.wall_ms = collected.wall.as_millis() as u64;
        if !record.outcome.is_unnoticed() {
            let text = String::from_utf8_lossy(&collected.console);
            record.tail = last(&text, TAIL);
            let from = collected.log.find("inject: injected").unwrap_or(0);
            record.dump = collected.log[from..]
                .lines()
                .take(DUMP)
                .map(str::to_owned)
                .collect();
        }
        record.events = journal.events;
    }
}

fn last(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}
