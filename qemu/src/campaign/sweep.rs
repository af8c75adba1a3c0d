//! From a plan and the golden runs' counts of messages to the list of experiments.

use super::grammar::{Fault, Names, Schedule};
use super::journal::Journal;
use super::plan::{Plan, Sweep};
use crate::error::{Error, Result};

/// One experiment to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name, the same whenever the plan and the machine are.
    pub id: String,
    /// Its phase, by its place in the plan.
    pub phase: usize,
    /// Its faults.
    pub faults: Vec<Fault>,
}

/// All experiments of a plan. `golden` has one journal for each phase.
pub fn expand(plan: &Plan, golden: &[Journal], names: &Names) -> Result<Vec<Experiment>> {
    let mut experiments = Vec::new();
    for (index, phase) in plan.phase.iter().enumerate() {
        for sweep in &plan.sweep {
            if sweep.phases.is_empty() || sweep.phases.contains(&phase.name) {
                for server in servers(sweep, &golden[index], names)? {
                    let messages = golden[index].messages(server);
                    for fault in &sweep.faults {
                        cell(plan, index, sweep, names.name(server), messages, fault, &mut experiments);
                    }
                }
            }
        }
        for (number, run) in plan.run.iter().enumerate().filter(|(_, run)| run.phase == phase.name) {
            for round in 0..run.repeat {
                let seed = plan.seed.wrapping_add(round as u64);
                let faults = run.faults.iter().map(|fault| Fault { seed: fault.seed.wrapping_add(seed), ..fault.clone() });
                experiments.push(Experiment {
                    id: format!("{}.run{number}.{round:04}", phase.name),
                    phase: index,
                    faults: faults.collect(),
                });
            }
        }
    }
    // What is wrong with a fault is wrong before the first run.
    for experiment in &experiments {
        Fault::plan(&experiment.faults, names).map_err(|what| Error::Usage { what: format!("{}: {what}", experiment.id) })?;
    }
    Ok(experiments)
}

fn servers(sweep: &Sweep, golden: &Journal, names: &Names) -> Result<Vec<u8>> {
    if sweep.servers.is_empty() {
        let all = (0..atoll_protocol::SERVERS as u8).filter(|server| golden.messages(*server) > 0);
        return Ok(all.collect());
    }
    let number = |name: &String| {
        names
            .number(name)
            .ok_or_else(|| Error::Usage { what: format!("a sweep is over the server '{name}', which is not there") })
    };
    sweep.servers.iter().map(number).collect()
}

/// One server and one model: each message, or a sample, in runs of several faults; then single ones.
fn cell(plan: &Plan, phase: usize, sweep: &Sweep, server: &str, messages: u64, fault: &Fault, experiments: &mut Vec<Experiment>) {
    let name = &plan.phase[phase].name;
    let at = |nth: u64| {
        let seed = draw(plan.seed ^ nth.wrapping_mul(0x9e37_79b9));
        Fault { server: Some(server.to_owned()), schedule: Schedule::Nth(nth), seed, limit: 1, ..fault.clone() }
    };
    let label = match fault.to_string().split(' ').next() {
        Some(model) => model.replace(':', "-"),
        None => String::new(),
    };
    let cell_seed = label.bytes().chain(server.bytes()).fold(plan.seed, |seed, byte| draw(seed ^ u64::from(byte)));
    let picks = picks(messages, sweep.exhaustive, sweep.sample, cell_seed);
    let groups = picks.len().div_ceil(sweep.per_run);
    for group in 0..groups {
        let faults = picks.iter().skip(group).step_by(groups).map(|nth| at(*nth)).collect();
        experiments.push(Experiment { id: format!("{name}.{server}.{label}.{group:03}"), phase, faults });
    }
    if sweep.per_run > 1 {
        for (number, nth) in self::picks(messages, 0, sweep.singles, draw(cell_seed)).into_iter().enumerate() {
            experiments.push(Experiment { id: format!("{name}.{server}.{label}.s{number:02}"), phase, faults: vec![at(nth)] });
        }
    }
}

/// All of `1..=messages` if they are few, else one of each of `sample` equal parts.
fn picks(messages: u64, exhaustive: u64, sample: u64, seed: u64) -> Vec<u64> {
    if messages <= exhaustive.max(sample) {
        let all = 1..=messages;
        return if exhaustive == 0 { all.take(sample as usize).collect() } else { all.collect() };
    }
    let mut state = seed;
    (0..sample)
        .map(|part| {
            let (first, end) = (messages * part / sample, messages * (part + 1) / sample);
            state = draw(state);
            1 + first + state % (end - first)
        })
        .collect()
}

/// SplitMix64's mixing: any two seeds give unrelated numbers.
fn draw(seed: u64) -> u64 {
    let state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::machine::Machine;

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

    fn experiments(counts: &[(u8, u8, u32)]) -> Vec<Experiment> {
        let golden = Journal { counts: counts.to_vec(), ..Journal::default() };
        let names = Names::of(&Machine::linux().unwrap());
        expand(&Plan::parse("p", PLAN).unwrap(), &[golden], &names).unwrap()
    }

    fn hits(experiments: &[Experiment], id: &str) -> Vec<u64> {
        let of_cell = experiments.iter().filter(|experiment| experiment.id.starts_with(id));
        let nth = |fault: &Fault| if let Schedule::Nth(nth) = fault.schedule { nth } else { 0 };
        of_cell.flat_map(|experiment| experiment.faults.iter().map(nth)).collect()
    }

    #[test]
    fn each_of_a_few_messages_is_hit_once_and_some_alone() {
        let experiments = experiments(&[(1, 0, 20), (1, 25, 1)]);
        let name = Names::of(&Machine::linux().unwrap()).name(1).to_owned();
        let hits = hits(&experiments, &format!("boot.{name}.crash.0"));
        assert_eq!(hits.len(), 21);
        assert_eq!(hits.iter().copied().collect::<BTreeSet<_>>(), (1..=21).collect());
        assert_eq!(experiments.len(), 2 * (3 + 2));
        assert!(experiments.iter().all(|experiment| experiment.faults.len() <= 7));
    }

    #[test]
    fn of_many_messages_one_of_each_part_is_hit() {
        let experiments = experiments(&[(1, 0, 1000)]);
        let name = Names::of(&Machine::linux().unwrap()).name(1).to_owned();
        let mut hits = hits(&experiments, &format!("boot.{name}.hang.0"));
        hits.sort_unstable();
        assert_eq!(hits.len(), 10);
        for (part, nth) in hits.into_iter().enumerate() {
            assert!((part as u64 * 100 + 1..=part as u64 * 100 + 100).contains(&nth));
        }
    }

    #[test]
    fn the_same_plan_gives_the_same_experiments() {
        assert_eq!(experiments(&[(1, 0, 1000)]), experiments(&[(1, 0, 1000)]));
    }
}
