//! What the tool is busy with: a spinner where standard error is a terminal, else a plain line per step. Standard output belongs to
//! the guest.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::shown::complain;

/// Shorter steps leave no trace.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// A step that may take longer than a second.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    _plain: Option<Sender<()>>,
    what: String,
    start: Instant,
}

impl Step {
    /// Begins it.
    #[must_use]
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(what.clone());
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let plain = bar.is_none().then(|| tell_later(what.clone()));
        Self {
            bar,
            _plain: plain,
            what,
            start: Instant::now(),
        }
    }

    /// Says what exactly it is at.
    pub fn detail(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {}", self.what, detail.trim()));
        }
    }

    /// Runs `work` as one step.
    pub fn of<T>(what: impl Into<String>, work: impl FnOnce(&Step) -> T) -> T {
        let step = Self::begin(what);
        work(&step)
    }
}

/// Prints the line unless the sender is dropped before it is worth it.
fn tell_later(what: String) -> Sender<()> {
    let (alive, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(WORTH_TELLING) == Err(RecvTimeoutError::Timeout) {
            complain(format_args!("atoll: {what}"));
        }
    });
    alive
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            let elapsed = self.start.elapsed();
            if elapsed > WORTH_TELLING {
                complain(format_args!(
                    "atoll: {} ({:.1} s)",
                    self.what,
                    elapsed.as_secs_f32()
                ));
            }
        }
    }
}

/// One line about a decision that the user should know of.
pub fn note(text: impl AsRef<str>) {
    complain(format_args!("atoll: {}", text.as_ref()));
}
