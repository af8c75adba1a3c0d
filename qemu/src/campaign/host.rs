//! A plan played on the host: the portable kernel with the real servers in this process, instead of QEMU. The phases are plays that differ in
//! their seeds; what the guest does is drawn, so that what a phase waits for and types has no meaning here.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use atoll_manifest::Machine;
use atoll_protocol::inject::{KINDS, Plan as Injections};
use atoll_protocol::units::ServerId;
use atoll_sim::Kernel;
use atoll_sim::cast::Cast;
use atoll_sim::play::{Rule, Scenario, play};

use super::grammar::{Fault, Names};
use super::journal::Journal;
use super::plan::Plan;
use super::sweep::{Experiment, Task, expand};
use crate::error::{Error, Result};

/// Steps of one play.
const STEPS: usize = 400;
/// Cases that are told one by one.
const TOLD: usize = 20;

/// How a play went, compared with the same one without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No message came that the fault would have hit.
    NotActivated,
    /// Nothing was different, and no server had to be restarted.
    Masked,
    /// Nothing was different, after a restart.
    Recovered,
    /// The guest or the world saw something else, or something else was committed.
    Differs,
    /// The machine was left.
    Left,
    /// The kernel's books did not balance, or something was left in the end: must not be.
    Books,
    /// The kernel failed: must not be.
    HypervisorCrash,
}

impl Outcome {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::NotActivated => "not-activated",
            Outcome::Masked => "masked",
            Outcome::Recovered => "recovered",
            Outcome::Differs => "differs",
            Outcome::Left => "left",
            Outcome::Books => "books",
            Outcome::HypervisorCrash => "hypervisor-crash",
        }
    }
}

/// What came of all plays.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Plays by first fault's model and outcome.
    pub outcomes: BTreeMap<(&'static str, Outcome), u64>,
    /// Faults that were injected.
    pub injected: u64,
    /// What is not as it was promised: the experiment, and what was seen.
    pub failures: Vec<(String, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plays: u64 = self.outcomes.values().sum();
        writeln!(
            f,
            "{plays} plays on the host, {} faults injected",
            self.injected
        )?;
        for ((model, outcome), count) in &self.outcomes {
            writeln!(f, "{model:>14} {:<16} {count}", outcome.name())?;
        }
        for (id, what) in self.failures.iter().take(TOLD) {
            writeln!(f, "not as promised: {id}: {what}")?;
        }
        Ok(())
    }
}

/// The host's machine, and the faults' names.
struct Stage {
    cast: Arc<Cast>,
    names: Names,
    seed: u64,
}

impl Stage {
    fn scenario(&self, injections: Injections, phase: usize) -> Scenario {
        let seed = self
            .seed
            .wrapping_add(phase as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let plan = Injections {
            sequence: 1,
            ..injections
        };
        Scenario {
            swaps: 0,
            compared: true,
            ..Scenario::new(plan, seed, STEPS)
        }
    }

    /// How many messages of each kind each server gets without faults, and how often servers are started: somebody kills some.
    fn golden(&self, phase: usize) -> Result<(Journal, u64)> {
        let played = play(&self.cast, self.scenario(Injections::NONE, phase));
        let kernel = played.map_err(|broken| Error::Usage {
            what: broken.to_string(),
        })?;
        let servers = 0..atoll_protocol::SERVERS as u8;
        let pairs = servers.flat_map(|server| (0..KINDS as u8).map(move |kind| (server, kind)));
        let counts = pairs.map(|(server, kind)| {
            (
                server,
                kind,
                kernel.state.inject.count(ServerId::nth(server), kind),
            )
        });
        let journal = Journal {
            counts: counts.filter(|(.., count)| *count > 0).collect(),
            ..Journal::default()
        };
        Ok((journal, starts(&kernel)))
    }

    /// One experiment; how many faults were injected.
    fn run(
        &self,
        experiment: &Experiment,
        starts_before: &[u64],
        report: &mut Report,
    ) -> Result<u64> {
        let injections =
            Fault::plan(&experiment.faults, &self.names).map_err(|what| Error::Usage { what })?;
        let scenario = self.scenario(injections, experiment.phase);
        let intact = experiment
            .faults
            .iter()
            .all(|fault| fault.model.leaves_state_intact());
        let played = catch_unwind(AssertUnwindSafe(|| play(&self.cast, scenario)));
        let (outcome, injected, what) = match played {
            Err(_) => (Outcome::HypervisorCrash, 0, "the kernel panicked".into()),
            Ok(Err(broken)) => {
                let outcome = match broken.rule {
                    Rule::Left => Outcome::Left,
                    Rule::Seen(_) | Rule::Committed(_) => Outcome::Differs,
                    Rule::Books(_) => Outcome::Books,
                };
                (outcome, broken.injected, broken.rule.to_string())
            }
            Ok(Ok(kernel)) => {
                let injected = kernel.state.machine.tally.faults;
                let restarted = starts_before
                    .get(experiment.phase)
                    .is_some_and(|before| starts(&kernel) > *before);
                let outcome = match (injected, restarted) {
                    (0, _) => Outcome::NotActivated,
                    (_, false) => Outcome::Masked,
                    (_, true) => Outcome::Recovered,
                };
                (outcome, injected, String::new())
            }
        };
        let model = experiment
            .faults
            .first()
            .map_or("none", |fault| fault.model.name());
        *report.outcomes.entry((model, outcome)).or_default() += 1;
        report.injected += injected;
        let broken = matches!(outcome, Outcome::Books | Outcome::HypervisorCrash);
        if broken || intact && matches!(outcome, Outcome::Differs | Outcome::Left) {
            report.failures.push((experiment.id.clone(), what));
        }
        Ok(injected)
    }
}

/// How often servers were started.
fn starts(kernel: &Kernel) -> u64 {
    kernel
        .state
        .servers
        .0
        .iter()
        .map(|server| u64::from(server.generation))
        .sum()
}

/// Plays all of a plan.
pub fn run(path: &Path) -> Result<Report> {
    let (plan, _) = Plan::load(path)?;
    let machine = plan
        .machine
        .as_deref()
        .map_or_else(Machine::linux, Machine::load)?;
    play_plan(&plan, &machine)
}

/// The same, of a plan that was read.
pub fn play_plan(plan: &Plan, machine: &Machine) -> Result<Report> {
    let cast = Cast::new(&machine.pack()?).map_err(|what| Error::Usage { what })?;
    let stage = Stage {
        cast,
        names: Names::of(machine),
        seed: plan.seed,
    };
    let golden: Result<Vec<(Journal, u64)>> = (0..plan.phase.len())
        .map(|phase| stage.golden(phase))
        .collect();
    let (golden, starts): (Vec<_>, Vec<_>) = golden?.into_iter().unzip();
    let mut report = Report::default();
    for task in expand(plan, &golden, &stage.names)? {
        match task {
            Task::One(experiment) => _ = stage.run(&experiment, &starts, &mut report)?,
            Task::Series(series) => {
                for nth in 1..=series.most {
                    if stage.run(&series.nth(nth), &starts, &mut report)? == 0 {
                        break;
                    }
                }
            }
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_that_boot_a_guest_are_played_on_the_host_too() {
        let text = r#"
campaign = 1
name = "two servers"
guest = "hello"
[[phase]]
name = "boot"
begin = "start"
[[sweep]]
faults = ["crash", "duplicate", "wrong-value:77"]
servers = ["cpuid", "uart"]
exhaustive = 0
sample = 6
"#;
        let plan = Plan::parse("p", text).unwrap();
        let report = play_plan(&plan, &Machine::linux().unwrap()).unwrap();
        assert!(report.failures.is_empty(), "{report}");
        assert_eq!(
            report.outcomes.get(&("crash", Outcome::Recovered)),
            Some(&12),
            "{report}"
        );
        assert_eq!(
            report.outcomes.get(&("duplicate", Outcome::Masked)),
            Some(&12),
            "{report}"
        );
        assert!(
            report
                .outcomes
                .contains_key(&("wrong-value", Outcome::Differs)),
            "{report}"
        );
    }
}
