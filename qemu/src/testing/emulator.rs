//! The QEMU of a machine under test, as the host sees it: a process that can be kept from running.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often it is looked for, and after what time again.
const LOOKS: usize = 6_000;
const PERIOD: Duration = Duration::from_millis(10);

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct Running(Pid);

impl Running {
    /// That which has the control line at `control` on its command line: no other has.
    pub(super) fn find(control: &Path) -> Self {
        for _ in 0..LOOKS {
            if let Some(pid) = process_with(&control.to_string_lossy()) {
                return Self(pid);
            }
            sleep(PERIOD);
        }
        panic!("no QEMU has begun to listen at {}", control.display());
    }

    /// Keeps it from running for a while; false if it has ended.
    #[must_use]
    pub fn stop_for(&self, span: Duration) -> bool {
        if self.has_ended() || kill(self.0, Signal::SIGSTOP).is_err() {
            return false;
        }
        sleep(span);
        kill(self.0, Signal::SIGCONT).is_ok()
    }

    /// One that has ended and was not waited for yet has no command line any more.
    fn has_ended(&self) -> bool {
        !fs::read(format!("/proc/{}/cmdline", self.0)).is_ok_and(|line| !line.is_empty())
    }
}

fn process_with(text: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        // Not the tool that is about to become it.
        let is_emulator = words
            .next()
            .is_some_and(|program| String::from_utf8_lossy(program).contains("qemu-system"));
        is_emulator && String::from_utf8_lossy(&line).contains(text)
    };
    pids.find(has).map(Pid::from_raw)
}
