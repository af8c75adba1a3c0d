//! Runs a campaign: snapshots, golden runs, then experiments in parallel, each written down when it is done.

use std::collections::HashSet;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::experiment::Prepared;
use super::lab::Lab;
use super::plan::Plan;
use super::record::{Depends, Record, sha256};
use super::store;
use super::sweep::{Experiment, expand};
use crate::bare::target::Permission;
use crate::error::{Error, Result};
use crate::guest::Choice;
use crate::guest::initramfs::Job;
use crate::machine::Machine;
use crate::progress::note;

/// A campaign, ready to run.
#[derive(Debug)]
pub struct Campaign {
    /// Its plan.
    pub plan: Plan,
    /// SHA-256 of the plan's text.
    pub hash: String,
    /// Its machine.
    pub lab: Lab,
    dir: PathBuf,
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
    pub fn open(path: &Path, dir: &Path, permission: Permission) -> Result<Self> {
        let (plan, text) = Plan::load(path)?;
        fs::create_dir_all(dir).map_err(Error::file(dir))?;
        fs::write(dir.join("plan.toml"), &text).map_err(Error::file(dir))?;
        Self::build(plan, &text, dir, permission)
    }

    /// The campaign whose records are in `dir`.
    pub fn reopen(dir: &Path, permission: Permission) -> Result<Self> {
        let (plan, text) = Plan::load(&dir.join("plan.toml"))?;
        Self::build(plan, &text, dir, permission)
    }

    fn build(plan: Plan, text: &str, dir: &Path, permission: Permission) -> Result<Self> {
        let machine = match &plan.machine {
            Some(path) => Machine::load(path)?,
            None => Machine::linux()?,
        };
        let job = Job { workload: plan.workload.clone(), ..Job::default() };
        let choice = Choice { name: Some(plan.guest.clone()), job, repeatable: true, permission, ..Choice::default() };
        let lab = Lab::build(&machine, &choice.find()?, permission)?;
        Ok(Self { plan, hash: sha256(text.as_bytes()), lab, dir: dir.to_owned() })
    }

    /// Prepares a phase: its snapshot is taken at the same instant as before, if that is known.
    pub fn prepare(&self, phase: usize, before: Option<&Depends>) -> Result<Prepared> {
        Prepared::new(&self.lab, &self.plan, &self.plan.phase[phase], before, &self.dir.join("snapshots"))
    }

    /// Runs what `options` say, and gives all records of the shard.
    pub fn run(&self, options: Options) -> Result<Vec<Record>> {
        let (shard, of) = options.shard;
        let path = store::file(&self.dir, options.shard);
        let mut records = if options.resume && path.exists() { store::read(&path)? } else { Vec::new() };
        // Where a phase begins was found by the run that is resumed; found again it could be another instant.
        let known = |name: &str| records.iter().find(|record| record.phase == name).map(|record| &record.depends);
        let phases = self.plan.phase.iter().enumerate();
        let phases = phases.map(|(place, phase)| self.prepare(place, known(&phase.name))).collect::<Result<Vec<_>>>()?;
        for phase in &phases {
            if let Some(record) = records.iter().find(|record| record.phase == phase.name && record.depends != *phase.depends()) {
                let differences = record.depends.differences(phase.depends()).join("; ");
                return Err(Error::Usage { what: format!("the records are of another machine: {differences}") });
            }
        }
        let journals: Vec<_> = phases.iter().map(|phase| phase.journal.clone()).collect();
        let mut experiments = expand(&self.plan, &journals, &self.lab.names)?;
        if let Some(most) = options.most.filter(|most| *most < experiments.len()) {
            let all = experiments.len();
            experiments = (0..most).map(|place| experiments[place * all / most].clone()).collect();
        }
        let done: HashSet<String> = records.iter().map(|record| record.id.clone()).collect();
        let todo: Vec<Experiment> = experiments
            .into_iter()
            .enumerate()
            .filter(|(place, experiment)| place % of + 1 == shard && !done.contains(&experiment.id))
            .map(|(_, experiment)| experiment)
            .collect();
        store::write(&path, &records)?;
        let mut file = fs::File::options().append(true).open(&path).map_err(Error::file(&path))?;
        self.all(&phases, &todo, options.jobs, |record| {
            store::append(&mut file, &path, &record)?;
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    }

    /// Runs experiments in parallel; `keep` gets them in the order in which they end.
    fn all(
        &self,
        phases: &[Prepared],
        todo: &[Experiment],
        jobs: usize,
        mut keep: impl FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let progress = Progress::begin(todo.len());
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (sender, ended) = mpsc::channel();
            for _ in 0..jobs.max(1) {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed)
                        && let Some(experiment) = todo.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let phase = &phases[experiment.phase];
                        let record = phase.experiment(&self.lab, &self.plan.name, &self.hash, experiment);
                        if sender.send(record).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for record in ended {
                progress.step(&record);
                keep(record).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        })
    }
}

/// How far it is: a bar with the time left on a terminal, else a line now and then.
struct Progress {
    bar: Option<ProgressBar>,
    all: usize,
    done: AtomicUsize,
    start: Instant,
    told: std::sync::Mutex<Instant>,
}

/// How often a line is told where there is no terminal.
const EVERY: Duration = Duration::from_secs(30);

impl Progress {
    fn begin(all: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(all as u64);
            if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan} {pos}/{len} {msg} ({eta} left)") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, all, done: AtomicUsize::new(0), start: Instant::now(), told: std::sync::Mutex::new(Instant::now()) }
    }

    fn step(&self, record: &Record) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.set_message(record.outcome.name());
            bar.inc(1);
        } else if let Ok(mut told) = self.told.lock()
            && (told.elapsed() > EVERY || done == self.all)
        {
            *told = Instant::now();
            let left = self.start.elapsed().as_secs_f64() / done as f64 * (self.all - done) as f64;
            note(format!("{done} of {} experiments, {left:.0} s left", self.all));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
