//! What a test that looks at a running machine has of it: its control line's socket, what it prints, and a keyboard.

use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::emulator::Running;
use crate::console::Keyboard;

/// A visit to a running machine. As a path it is the control line's socket.
#[derive(Debug)]
pub struct Visit<'s> {
    control: PathBuf,
    keyboard: Keyboard,
    screen: &'s Screen,
}

impl<'s> Visit<'s> {
    pub(super) fn new(control: PathBuf, keyboard: Keyboard, screen: &'s Screen) -> Self {
        Self {
            control,
            keyboard,
            screen,
        }
    }

    /// The machine's QEMU, once it has begun.
    ///
    /// # Panics
    /// It does not begin.
    #[must_use]
    pub fn emulator(&self) -> Running {
        Running::find(&self.control)
    }

    /// Types on the guest's console.
    pub fn press(&self, keys: &str) {
        self.keyboard.send(keys.as_bytes());
    }

    /// Waits until the guest (or its command, if it runs one) has printed `text`; false if it has ended without.
    #[must_use]
    pub fn wait_for(&self, text: &str) -> bool {
        let mut shown = self.screen.shown();
        loop {
            if shown.contains(text) {
                return true;
            }
            if shown.ended {
                return false;
            }
            shown = self
                .screen
                .news
                .wait(shown)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it has printed more than so many lines; how many it has printed then, or `None` if it has ended.
    #[must_use]
    pub fn wait_for_lines(&self, than: usize) -> Option<usize> {
        let shown = self.screen.shown();
        let wait = self
            .screen
            .news
            .wait_while(shown, |shown| !shown.ended && shown.lines <= than);
        let shown = wait.unwrap_or_else(PoisonError::into_inner);
        (!shown.ended).then_some(shown.lines)
    }

    /// Whether it has printed `text` by now.
    #[must_use]
    pub fn has_printed(&self, text: &str) -> bool {
        self.screen.shown().contains(text)
    }
}

impl Deref for Visit<'_> {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.control
    }
}

/// What the guest has printed so far.
#[derive(Debug, Default)]
pub(super) struct Screen {
    shown: Mutex<Shown>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Shown {
    text: Vec<u8>,
    lines: usize,
    ended: bool,
}

impl Shown {
    fn contains(&self, text: &str) -> bool {
        self.text
            .windows(text.len().max(1))
            .any(|window| window == text.as_bytes())
    }
}

impl Screen {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more will be printed, when what this gives is dropped: nobody waits for ever.
    pub(super) fn open(&self) -> Open<'_> {
        Open(self)
    }

    /// Everything that was printed.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown().text).into_owned()
    }
}

impl Write for &Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shown = self.shown();
        shown.text.extend_from_slice(bytes);
        shown.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        drop(shown);
        self.news.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The guest may print.
pub(super) struct Open<'s>(&'s Screen);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.shown().ended = true;
        self.0.news.notify_all();
    }
}
