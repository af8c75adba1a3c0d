//! Runs tasks in parallel, and tells how far it is.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::record::Record;
use super::sweep::{Experiment, Task};
use crate::error::Result;
use crate::progress::note;

/// What a worker tells.
enum News {
    Record(Box<Record>),
    /// A task is over.
    Done,
}

/// Has `jobs` workers do all tasks. `keep` gets the records in the order in which experiments end; `known` tells of an experiment that was
/// recorded before whether it hit anything.
pub fn work(
    todo: &[Task],
    jobs: usize,
    run: impl Fn(&Experiment) -> Record + Sync,
    known: impl Fn(&str) -> Option<bool> + Sync,
    mut keep: impl FnMut(Record) -> Result<()>,
) -> Result<()> {
    let progress = Progress::begin(todo.len());
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, news) = mpsc::channel();
        for _ in 0..jobs.max(1) {
            let (sender, next, stop, run, known) = (sender.clone(), &next, &stop, &run, &known);
            scope.spawn(move || {
                let stopped = || stop.load(Ordering::Relaxed);
                // Whether it hit anything.
                let one = |experiment: &Experiment| {
                    known(&experiment.id).unwrap_or_else(|| {
                        let record = run(experiment);
                        let activated = record.activated();
                        sender.send(News::Record(Box::new(record))).is_ok() && activated
                    })
                };
                while !stopped()
                    && let Some(task) = todo.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    match task {
                        Task::One(experiment) => {
                            one(experiment);
                        }
                        Task::Series(series) => {
                            let mut all = (1..=series.most).take_while(|_| !stopped());
                            all.find(|nth| !one(&series.nth(*nth)));
                        }
                    }
                    if sender.send(News::Done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for news in news {
            match news {
                News::Record(record) => {
                    progress.tell(&record);
                    keep(*record).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                }
                News::Done => progress.step(),
            }
        }
        Ok(())
    })
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
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40.cyan} {pos}/{len} {msg} ({eta} left)")
            {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            all,
            done: AtomicUsize::new(0),
            start: Instant::now(),
            told: std::sync::Mutex::new(Instant::now()),
        }
    }

    fn tell(&self, record: &Record) {
        if let Some(bar) = &self.bar {
            bar.set_message(record.outcome.name());
        }
    }

    fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if let Ok(mut told) = self.told.lock()
            && (told.elapsed() > EVERY || done == self.all)
        {
            *told = Instant::now();
            let left = self.start.elapsed().as_secs_f64() / done as f64 * (self.all - done) as f64;
            note(format!("{done} of {} tasks, {left:.0} s left", self.all));
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
