//! A machine's statistics up to its end. When the guest powers off there is nobody left to ask, so they are asked for all along, and
//! the last answer counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::control::{Line, tables};

/// How old the last answer may be.
const PERIOD: Duration = Duration::from_millis(300);

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Poller {
    last: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Begins to ask the machine that listens on `control`.
    #[must_use]
    pub fn start(control: PathBuf) -> Self {
        let (last, stop) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (last, stop) = (Arc::clone(&last), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // QEMU makes the socket a moment after it starts, and closes it when it ends.
                    if let Ok(mut line) = Line::shared("this one", &control).map(Line::quietly) {
                        poll(&mut line, &last, &stop);
                    }
                    thread::sleep(PERIOD);
                }
            }
        });
        Self {
            last,
            stop,
            thread: Some(thread),
        }
    }

    /// The tables of the last answer.
    #[must_use]
    pub fn finish(mut self) -> Option<String> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.last.lock().ok().and_then(|mut last| last.take())
    }
}

fn poll(line: &mut Line, last: &Mutex<Option<String>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(text) = tables::exits(line)
            .and_then(|exits| Ok(format!("{exits}\n{}", tables::servers(line)?)))
        else {
            return;
        };
        if let Ok(mut last) = last.lock() {
            *last = Some(text);
        }
        thread::sleep(PERIOD);
    }
}
