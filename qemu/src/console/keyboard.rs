//! What is typed, or piped in, on its way to the guest.

use std::io::{IsTerminal, Read, Write, stdin};
use std::process::ChildStdin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::Event;
use super::escape::{Escape, Typed};

/// Ctrl-D.
const END: u8 = 4;
/// After what time an end is told again.
const AGAIN: Duration = Duration::from_secs(2);

/// The line to the guest that runs now; a guest that boots again gets a new one.
#[derive(Clone, Debug, Default)]
pub struct Keyboard {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    line: Option<ChildStdin>,
    ready: bool,
}

impl Keyboard {
    /// Passes standard input on to the guest. A terminal's escape key is taken out; piped input waits until the guest is ready.
    pub fn attach(&self, events: Sender<Event>) {
        let keyboard = self.clone();
        let terminal = stdin().is_terminal();
        thread::spawn(move || {
            let mut escape = Escape::default();
            let mut chunk = [0; 1024];
            let mut last = b'\n';
            while let Ok(read @ 1..) = stdin().lock().read(&mut chunk) {
                if !terminal {
                    keyboard.wait_until_ready();
                    keyboard.send(&chunk[..read]);
                    last = chunk[read - 1];
                    continue;
                }
                for typed in escape.feed(&chunk[..read]) {
                    let event = match typed {
                        Typed::Send(bytes) => {
                            keyboard.send(&bytes);
                            continue;
                        }
                        Typed::Quit => Event::Quit,
                        Typed::Help => Event::Help,
                    };
                    if events.send(event).is_err() {
                        return;
                    }
                }
            }
            if !terminal {
                keyboard.end(last);
            }
        });
    }

    /// The end of what was piped in: as it would on a terminal, Ctrl-D says so. It is said again and again, since an end stays one: whatever
    /// reads in the guest gets it, its shell after it, and a guest that boots again.
    fn end(&self, last: u8) {
        self.wait_until_ready();
        if last != b'\n' {
            self.send(b"\n");
        }
        loop {
            self.wait_until_ready();
            self.send(&[END]);
            thread::sleep(AGAIN);
        }
    }

    /// Connects it to a guest.
    pub fn connect(&self, line: ChildStdin) {
        if let Ok(mut state) = self.state.0.lock() {
            *state = State {
                line: Some(line),
                ready: false,
            };
        }
    }

    /// The guest reads its console now.
    pub fn guest_is_ready(&self) {
        if let Ok(mut state) = self.state.0.lock() {
            state.ready = true;
            self.state.1.notify_all();
        }
    }

    fn wait_until_ready(&self) {
        if let Ok(state) = self.state.0.lock() {
            drop(self.state.1.wait_while(state, |state| !state.ready));
        }
    }

    /// Sends bytes to the guest; a guest that has ended does not get them.
    pub fn send(&self, bytes: &[u8]) {
        if let Ok(mut state) = self.state.0.lock()
            && let Some(line) = &mut state.line
        {
            let _ = line.write_all(bytes).and_then(|()| line.flush());
        }
    }
}
