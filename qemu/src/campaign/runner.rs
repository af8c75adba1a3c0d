//! Runs a campaign: snapshots, golden runs, then experiments in parallel, each written down when it is done.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use atoll_manifest::Machine;

use super::crew;
use super::depends::Depends;
use super::experiment::{Origin, Prepared};
use super::grammar::Names;
use super::lab::Lab;
use super::plan::Plan;
use super::record::{Record, sha256};
use super::store;
use super::sweep::{Experiment, Task, expand};
use crate::bare::target::Permission;
use crate::error::{Error, Result};
use crate::guest::Choice;
use crate::guest::initramfs::Job;
use crate::place;
use crate::progress::note;

/// A campaign, ready to run.
#[derive(Debug)]
pub struct Campaign {
    /// Its plan.
    pub plan: Plan,
    /// Where its records come from.
    pub origin: Origin,
    /// Its machine.
    pub lab: Lab,
    dir: PathBuf,
    /// Held as long as this lives: the directory has one place for each phase's snapshot.
    _lock: fs::File,
}

/// What part of it to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which of how many shards: experiment number `n` is in shard `n % of + 1`.
    pub shard: (usize, usize),
    /// Whether to leave out what was recorded.
    pub resume: bool,
    /// Runs at the same time.
    pub jobs: usize,
    /// Most experiments; evenly spread over the whole list.
    pub most: Option<usize>,
}

impl Campaign {
    /// Reads the plan, builds the machine.
    pub fn open(path: &Path, dir: &Path, options: Options, permission: Permission) -> Result<Self> {
        let (plan, text) = Plan::load(path)?;
        fs::create_dir_all(dir).map_err(Error::file(dir))?;
        store::check_free(dir, &text, options.shard, options.resume)?;
        fs::write(dir.join(store::PLAN), &text).map_err(Error::file(dir))?;
        Self::build(plan, &text, dir, permission)
    }

    /// The campaign whose records are in `dir`.
    pub fn reopen(dir: &Path, permission: Permission) -> Result<Self> {
        let (plan, text) = Plan::load(&dir.join(store::PLAN))?;
        Self::build(plan, &text, dir, permission)
    }

    fn build(plan: Plan, text: &str, dir: &Path, permission: Permission) -> Result<Self> {
        let mut machine = match &plan.machine {
            Some(path) => Machine::load(path)?,
            None => Machine::linux()?,
        };
        if let Some(budget) = plan.budget_us {
            machine.set_default_budget(budget);
        }
        plan.check_names(&Names::of(&machine))
            .map_err(|what| Error::Usage { what })?;
        let job = Job {
            workload: plan.workload.clone(),
            ..Job::default()
        };
        let (name, append) = (Some(plan.guest.clone()), plan.append.clone());
        let choice = Choice {
            name,
            append,
            job,
            repeatable: true,
            permission,
            ..Choice::default()
        };
        let lab = Lab::build(&machine, &choice.find()?, permission)?;
        let origin = Origin {
            campaign: plan.name.clone(),
            plan: sha256(text.as_bytes()),
            revision: place::revision()?,
            dir: dir.display().to_string(),
        };
        Ok(Self {
            plan,
            origin,
            lab,
            dir: dir.to_owned(),
            _lock: lock(dir)?,
        })
    }

    /// Prepares a phase: its snapshot is taken at the same instant as before, if that is known.
    pub fn prepare(&self, phase: usize, before: Option<&Depends>) -> Result<Prepared> {
        Prepared::new(
            &self.lab,
            &self.plan,
            &self.plan.phase[phase],
            before,
            &self.dir.join("snapshots"),
        )
    }

    /// Runs what `options` say, and gives all records of the shard.
    pub fn run(&self, options: Options) -> Result<Vec<Record>> {
        let (shard, of) = options.shard;
        let path = store::file(&self.dir, options.shard);
        let mut records = if options.resume && path.exists() {
            store::read(&path)?
        } else {
            Vec::new()
        };
        // Where a phase begins was found by the run that is resumed; found again it could be another instant.
        let known = |name: &str| {
            records
                .iter()
                .find(|record| record.phase == name)
                .map(|record| &record.depends)
        };
        let phases = self.plan.phase.iter().enumerate();
        let phases = phases
            .map(|(place, phase)| self.prepare(place, known(&phase.name)))
            .collect::<Result<Vec<_>>>()?;
        for phase in &phases {
            if let Some(record) = records
                .iter()
                .find(|record| record.phase == phase.name && record.depends != *phase.depends())
            {
                let differences = record.depends.differences(phase.depends()).join("; ");
                return Err(Error::Usage {
                    what: format!("the records are of another machine: {differences}"),
                });
            }
        }
        let journals: Vec<_> = phases.iter().map(|phase| phase.journal.clone()).collect();
        let mut tasks = expand(&self.plan, &journals, &self.lab.names)?;
        if let Some(most) = options.most.filter(|most| *most < tasks.len()) {
            let all = tasks.len();
            tasks = (0..most)
                .map(|place| tasks[place * all / most].clone())
                .collect();
        }
        // By name, and whether it hit anything.
        let done: HashMap<String, bool> = records
            .iter()
            .map(|record| (record.id.clone(), record.activated()))
            .collect();
        let todo: Vec<Task> = tasks
            .into_iter()
            .enumerate()
            .filter(|(place, task)| {
                place % of + 1 == shard
                    && !matches!(task, Task::One(experiment) if done.contains_key(&experiment.id))
            })
            .map(|(_, task)| task)
            .collect();
        note(format!(
            "{} tasks to do, {} experiments recorded before",
            todo.len(),
            records.len()
        ));
        store::write(&path, &records)?;
        let mut file = fs::File::options()
            .append(true)
            .open(&path)
            .map_err(Error::file(&path))?;
        let run = |experiment: &Experiment| {
            phases[experiment.phase].experiment(&self.lab, &self.origin, experiment)
        };
        crew::work(
            &todo,
            options.jobs,
            run,
            |id| done.get(id).copied(),
            |record| {
                store::append(&mut file, &path, &record)?;
                records.push(record);
                Ok(())
            },
        )?;
        Ok(records)
    }
}

/// Waits until nobody else works in a directory.
fn lock(dir: &Path) -> Result<fs::File> {
    let path = dir.join("lock");
    let file = fs::File::create(&path).map_err(Error::file(&path))?;
    if file.try_lock().is_err() {
        note(format!(
            "waiting for another command that works in {}",
            dir.display()
        ));
        file.lock().map_err(Error::file(&path))?;
    }
    Ok(file)
}
