//! From a plan and the golden runs' counts of messages to the list of what is to be run.

use super::grammar::{Fault, Names, Schedule};
use super::journal::Journal;
use super::plan::{FailNth, Plan, Sweep};
use crate::error::{Error, Result};

/// One experiment to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name, the same whenever the plan and the machine are.
    pub id: String,
    /// Its phase, by its place in the plan.
    pub phase: usize,
    /// Its faults; without any it is a control.
    pub faults: Vec<Fault>,
}

/// What one worker does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// An experiment.
    One(Experiment),
    /// Experiments until one of them hits nothing.
    Series(Series),
}

/// Experiments that differ in which message is hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    id: String,
    phase: usize,
    with: Vec<Fault>,
    fault: Fault,
    /// Most experiments.
    pub most: u64,
}

impl Series {
    fn of(plan: &Plan, phase: usize, number: usize, it: &FailNth) -> Self {
        let id = format!("{}.nth{number}", plan.phase[phase].name);
        Self {
            id,
            phase,
            with: it.with.clone(),
            fault: it.fault.clone(),
            most: it.most,
        }
    }

    /// The experiment in which the n-th message is hit, counted from 1.
    #[must_use]
    pub fn nth(&self, nth: u64) -> Experiment {
        let fault = Fault {
            schedule: Schedule::Nth(nth),
            limit: 1,
            ..self.fault.clone()
        };
        // Before the others: a message that two faults are due for gets the first.
        let faults = std::iter::once(fault)
            .chain(self.with.iter().cloned())
            .collect();
        Experiment {
            id: format!("{}.{nth:04}", self.id),
            phase: self.phase,
            faults,
        }
    }
}

/// All of a plan. `golden` has one journal for each phase.
pub fn expand(plan: &Plan, golden: &[Journal], names: &Names) -> Result<Vec<Task>> {
    let mut experiments = Vec::new();
    let mut series = Vec::new();
    for (index, phase) in plan.phase.iter().enumerate() {
        for number in 0..phase.controls {
            let id = format!("{}.control.{number:03}", phase.name);
            experiments.push(Experiment {
                id,
                phase: index,
                faults: Vec::new(),
            });
        }
        for sweep in &plan.sweep {
            if sweep.phases.is_empty() || sweep.phases.contains(&phase.name) {
                for server in servers(sweep, &golden[index], names)? {
                    let messages = golden[index].messages(server);
                    for fault in &sweep.faults {
                        Cell::of(plan, index, sweep, names.name(server), messages, fault)
                            .runs(&mut experiments);
                    }
                }
            }
        }
        for (number, run) in plan
            .run
            .iter()
            .enumerate()
            .filter(|(_, run)| run.phase == phase.name)
        {
            for round in 0..run.repeat {
                let seed = plan.seed.wrapping_add(round as u64);
                let faults = run.faults.iter().map(|fault| Fault {
                    seed: fault.seed.wrapping_add(seed),
                    ..fault.clone()
                });
                experiments.push(Experiment {
                    id: format!("{}.run{number}.{round:04}", phase.name),
                    phase: index,
                    faults: faults.collect(),
                });
            }
        }
        let of_phase = plan
            .fail_nth
            .iter()
            .enumerate()
            .filter(|(_, series)| series.phase == phase.name);
        series.extend(of_phase.map(|(number, it)| Series::of(plan, index, number, it)));
    }
    // What is wrong with a fault is wrong before the first run.
    for experiment in experiments
        .iter()
        .cloned()
        .chain(series.iter().map(|series| series.nth(1)))
    {
        Fault::plan(&experiment.faults, names).map_err(|what| Error::Usage {
            what: format!("{}: {what}", experiment.id),
        })?;
    }
    Ok(experiments
        .into_iter()
        .map(Task::One)
        .chain(series.into_iter().map(Task::Series))
        .collect())
}

fn servers(sweep: &Sweep, golden: &Journal, names: &Names) -> Result<Vec<u8>> {
    if sweep.servers.is_empty() {
        let all = (0..atoll_protocol::SERVERS as u8).filter(|server| golden.messages(*server) > 0);
        return Ok(all.collect());
    }
    let number = |name: &String| {
        names.number(name).ok_or_else(|| Error::Usage {
            what: format!("a sweep is over the server '{name}', which is not there"),
        })
    };
    sweep.servers.iter().map(number).collect()
}

/// One server and one model.
struct Cell<'p> {
    phase: (usize, &'p str),
    sweep: &'p Sweep,
    server: &'p str,
    messages: u64,
    fault: &'p Fault,
    seed: u64,
}

impl<'p> Cell<'p> {
    fn of(
        plan: &'p Plan,
        phase: usize,
        sweep: &'p Sweep,
        server: &'p str,
        messages: u64,
        fault: &'p Fault,
    ) -> Self {
        let words = fault.what().into_bytes().into_iter().chain(server.bytes());
        let seed = words.fold(plan.seed, |seed, byte| draw(seed ^ u64::from(byte)));
        Self {
            phase: (phase, &plan.phase[phase].name),
            sweep,
            server,
            messages,
            fault,
            seed,
        }
    }

    /// Each message, or one of each of many equal parts, in runs of several faults; then single ones.
    fn runs(&self, experiments: &mut Vec<Experiment>) {
        let Sweep {
            exhaustive,
            sample,
            per_run,
            singles,
            ..
        } = *self.sweep;
        let all = self.messages <= exhaustive.max(sample);
        let hits = if all { self.messages } else { sample };
        let groups = hits.div_ceil(per_run);
        for group in 0..groups {
            // This many of the hits have the numbers group, group + groups, ...
            let count = (hits - group).div_ceil(groups);
            let schedule = match count {
                1 if all => Schedule::Nth(group + 1),
                1 => Schedule::Nth(self.drawn(group, hits, self.seed)),
                _ if all => Schedule::Every {
                    every: groups,
                    from: group + 1,
                },
                _ => Schedule::OneOf {
                    of: self.messages / count,
                    from: 1,
                },
            };
            experiments.push(self.experiment(
                &format!("{group:03}"),
                schedule,
                count,
                draw(self.seed ^ group),
            ));
        }
        let singles = if per_run > 1 {
            singles.min(self.messages)
        } else {
            0
        };
        for number in 0..singles {
            let nth = self.drawn(number, singles, draw(self.seed));
            experiments.push(self.experiment(
                &format!("s{number:02}"),
                Schedule::Nth(nth),
                1,
                draw(self.seed ^ nth),
            ));
        }
    }

    /// A message of one of `parts` equal parts.
    fn drawn(&self, part: u64, parts: u64, seed: u64) -> u64 {
        let (first, end) = (
            self.messages * part / parts,
            self.messages * (part + 1) / parts,
        );
        1 + first + draw(seed.wrapping_add(part)) % (end - first).max(1)
    }

    fn experiment(&self, number: &str, schedule: Schedule, limit: u64, seed: u64) -> Experiment {
        let label = self.fault.what().replace(':', "-");
        let server = Some(self.server.to_owned());
        let fault = Fault {
            server,
            schedule,
            seed,
            limit: limit as u32,
            ..self.fault.clone()
        };
        Experiment {
            id: format!("{}.{}.{label}.{number}", self.phase.1, self.server),
            phase: self.phase.0,
            faults: vec![fault],
        }
    }
}

/// SplitMix64's mixing: any two seeds give unrelated numbers.
#[must_use]
pub fn draw(seed: u64) -> u64 {
    let state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use atoll_manifest::Machine;

    const PLAN: &str = r#"
campaign = 1
name = "two servers"
guest = "hello"
[[phase]]
name = "boot"
begin = "start"
[[sweep]]
faults = ["crash", "hang"]
exhaustive = 50
sample = 10
per-run = 7
singles = 2
"#;

    fn tasks(plan: &str, counts: &[(u8, u8, u32)]) -> Vec<Task> {
        let golden = Journal {
            counts: counts.to_vec(),
            ..Journal::default()
        };
        expand(&Plan::parse("p", plan).unwrap(), &[golden], &names()).unwrap()
    }

    fn names() -> Names {
        Names::of(&Machine::linux().unwrap())
    }

    /// The faults of those experiments whose names begin so.
    fn faults(tasks: &[Task], id: &str) -> Vec<Fault> {
        let of_cell = tasks.iter().filter_map(|task| match task {
            Task::One(experiment) if experiment.id.starts_with(id) => {
                Some(experiment.faults.clone())
            }
            _ => None,
        });
        of_cell.flatten().collect()
    }

    fn name() -> String {
        names().name(1).to_owned()
    }

    #[test]
    fn each_of_a_few_messages_is_hit_once_and_some_alone() {
        let tasks = tasks(PLAN, &[(1, 0, 20), (1, 25, 1)]);
        let mut hits = Vec::new();
        for fault in faults(&tasks, &format!("boot.{}.crash.0", name())) {
            assert!(fault.limit <= 7);
            let Schedule::Every { every, from } = fault.schedule else {
                panic!("{fault}")
            };
            hits.extend((0..u64::from(fault.limit)).map(|hit| from + hit * every));
        }
        assert_eq!(hits.len(), 21);
        assert_eq!(
            hits.into_iter().collect::<BTreeSet<_>>(),
            (1..=21).collect()
        );
        let alone = faults(&tasks, &format!("boot.{}.crash.s", name()));
        assert!(
            alone.len() == 2
                && alone
                    .iter()
                    .all(|fault| matches!(fault.schedule, Schedule::Nth(1..=21)))
        );
    }

    #[test]
    fn of_many_messages_as_many_as_were_asked_for_are_hit_all_over() {
        let faults = faults(
            &tasks(PLAN, &[(1, 0, 1000)]),
            &format!("boot.{}.hang.0", name()),
        );
        assert_eq!(faults.iter().map(|fault| fault.limit).sum::<u32>(), 10);
        assert!(
            faults
                .iter()
                .all(|fault| fault.schedule == Schedule::OneOf { of: 200, from: 1 })
        );
        assert_ne!(faults[0].seed, faults[1].seed);
    }

    #[test]
    fn a_sample_of_single_faults_has_one_of_each_part() {
        let faults = faults(
            &tasks(&PLAN.replace("per-run = 7", ""), &[(1, 0, 1000)]),
            &format!("boot.{}.hang.0", name()),
        );
        assert_eq!(faults.len(), 10);
        for (part, fault) in faults.iter().enumerate() {
            let Schedule::Nth(nth) = fault.schedule else {
                panic!("{fault}")
            };
            assert!((part as u64 * 100 + 1..=part as u64 * 100 + 100).contains(&nth));
        }
    }

    #[test]
    fn a_series_goes_from_message_to_message_under_the_same_other_faults() {
        let plan = "[[fail-nth]]\nphase = \"boot\"\nfault = \"crash supervisor during=recovery\"\nwith = [\"crash cpuid\"]\n";
        let tasks = tasks(&format!("{PLAN}{plan}"), &[(1, 0, 1)]);
        let Some(Task::Series(series)) = tasks.last() else {
            panic!("{tasks:?}")
        };
        let third = series.nth(3);
        assert_eq!(third.id, "boot.nth0.0003");
        let texts: Vec<String> = third.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "crash supervisor nth=3 limit=1 during=recovery",
                "crash cpuid nth=1"
            ]
        );
    }

    #[test]
    fn the_same_plan_gives_the_same_tasks() {
        assert_eq!(tasks(PLAN, &[(1, 0, 1000)]), tasks(PLAN, &[(1, 0, 1000)]));
    }
}
