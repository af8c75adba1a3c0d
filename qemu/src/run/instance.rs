//! A machine's own directory: its bundle, its kernel's log, its control line. A lock on it lasts as long as the process that took it,
//! so one that was killed leaves nothing in the way.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::place;
use crate::progress::note;
use crate::run::log;

/// The file with the kernel's log.
const LOG: &str = "kernel.log";
/// The socket for those who ask.
const CONTROL: &str = "control.sock";
/// The file that is locked, with the number of the process that runs the machine.
const LOCK: &str = "lock";
/// The file that is locked while a name is claimed. No machine can have its name.
const CLAIMS: &str = "claims.lock";
/// How often a lock that nobody can be holding for long is tried, and after what time again.
const LOOKS: usize = 100;
const PERIOD: Duration = Duration::from_millis(10);
/// How many machines that have ended leave their logs.
const KEPT: usize = 16;
/// The file that says what the machine counts time in.
const CLOCK: &str = "clock";
/// What it says of a machine whose nanoseconds are instructions.
const INSTRUCTIONS: &[u8] = b"instructions";

/// A machine's directory, locked.
#[derive(Debug)]
pub struct Instance {
    dir: PathBuf,
    lock: Option<fs::File>,
    _temporary: Option<tempfile::TempDir>,
}

impl Instance {
    /// Takes a name for this process.
    pub fn claim(name: &str) -> Result<Self> {
        let dir = directory(name)?;
        // Who clears up behind others takes their names for a moment: nobody claims one meanwhile.
        let claims = place::runtime()?.join(CLAIMS);
        let alone = fs::File::create(&claims).map_err(Error::file(&claims))?;
        alone.lock().map_err(Error::file(&claims))?;
        place::private_dir(&dir)?;
        let path = dir.join(LOCK);
        let mut lock = fs::File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::file(&path))?;
        let mut looks = 0..LOOKS;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // Whoever asks whether it runs has it for a moment, too.
                Err(fs::TryLockError::WouldBlock)
                    if !holder_of(name).is_some_and(is_alive) && looks.next().is_some() =>
                {
                    thread::sleep(PERIOD);
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::Running {
                        name: name.to_owned(),
                        pid: holder_of(name).map_or_else(|| "?".into(), |pid| pid.to_string()),
                    });
                }
                Err(fs::TryLockError::Error(error)) => return Err(Error::file(&path)(error)),
            }
        }
        lock.set_len(0).map_err(Error::file(&path))?;
        writeln!(lock, "{}", std::process::id()).map_err(Error::file(&path))?;
        let instance = Self {
            dir,
            lock: Some(lock),
            _temporary: None,
        };
        instance.clear()?;
        sweep(&place::runtime()?);
        Ok(instance)
    }

    /// A directory that nobody else knows and that goes with this value.
    pub fn temporary() -> Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix("atoll-")
            .tempdir()
            .map_err(Error::file(std::env::temp_dir()))?;
        Ok(Self {
            dir: temporary.path().to_owned(),
            lock: None,
            _temporary: Some(temporary),
        })
    }

    /// Removes what an earlier boot left: a stale socket, a log.
    pub fn clear(&self) -> Result<()> {
        for path in [self.control(), self.machine_control(), self.log()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The machine's name, or what stands for it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.dir
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where whoever wants to ask the machine finds the tool that runs it.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.dir.join(CONTROL)
    }

    /// Where the machine's own control line listens, for one at a time.
    #[must_use]
    pub fn machine_control(&self) -> PathBuf {
        self.dir.join("machine.sock")
    }

    /// Where the kernel's log goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Writes a file of the machine.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, bytes).map_err(Error::file(&path))?;
        Ok(path)
    }

    /// Notes whether the machine counts time in instructions, for those who ask it later.
    pub fn note_clock(&self, icount: bool) -> Result<()> {
        self.write(CLOCK, if icount { INSTRUCTIONS } else { b"time" })
            .map(drop)
    }

    /// The kernel's log so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        log::text(&self.log()).unwrap_or_default()
    }
}

impl Drop for Instance {
    /// What the machine was made of goes with it; what it said stays, for those who want to know why it has ended.
    fn drop(&mut self) {
        if self.lock.is_some() {
            remove_all_but_the_log(&self.dir);
        }
    }
}

fn remove_all_but_the_log(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if ![LOG, LOCK, CLOCK]
            .iter()
            .any(|kept| entry.file_name() == *kept)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Clears up behind machines that were killed, and keeps the logs of only so many that have ended.
fn sweep(runtime: &Path) {
    let mut ended = Vec::new();
    for entry in fs::read_dir(runtime).into_iter().flatten().flatten() {
        let dir = entry.path();
        let Ok(lock) = fs::File::open(dir.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        remove_all_but_the_log(&dir);
        let since = lock.metadata().and_then(|about| about.modified());
        ended.push((since.ok(), dir, lock));
    }
    ended.sort_by_key(|(since, ..)| std::cmp::Reverse(*since));
    for (_, dir, _lock) in ended.iter().skip(KEPT) {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Where a machine of this name keeps its things.
pub fn directory(name: &str) -> Result<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
        return Err(Error::Usage {
            what: format!("--name '{name}': use at most 40 letters, digits, '-' and '_'"),
        });
    }
    Ok(place::runtime()?.join(name))
}

/// The control line of the machine called `name`, if it runs.
pub fn control_of(name: &str) -> Result<PathBuf> {
    let dir = directory(name)?;
    let running = fs::File::open(dir.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)));
    if running {
        Ok(dir.join(CONTROL))
    } else {
        Err(Error::NotRunning {
            name: name.to_owned(),
        })
    }
}

/// The process that runs the machine called `name`.
#[must_use]
pub fn holder_of(name: &str) -> Option<u32> {
    let text = fs::read_to_string(directory(name).ok()?.join(LOCK)).ok()?;
    text.trim().parse().ok()
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// The kernel's log of the machine called `name`, if it runs.
pub fn log_of(name: &str) -> Result<PathBuf> {
    control_of(name)?;
    Ok(directory(name)?.join(LOG))
}

/// The log that the last machine called `name` has left; it is said that it is that.
pub fn left_log_of(name: &str) -> Result<PathBuf> {
    let path = directory(name)?.join(LOG);
    if path.is_file() {
        note(format!(
            "no machine named '{name}' is running; this is of the last one"
        ));
        Ok(path)
    } else {
        Err(Error::NotRunning {
            name: name.to_owned(),
        })
    }
}

/// Whether the machine called `name` counts time in instructions.
pub fn counts_instructions(name: &str) -> Result<bool> {
    Ok(fs::read(directory(name)?.join(CLOCK)).is_ok_and(|clock| clock == INSTRUCTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_by_one_machine_at_a_time() {
        let name = format!("test-{}", std::process::id());
        let first = Instance::claim(&name).unwrap();
        assert!(
            matches!(Instance::claim(&name), Err(Error::Running { pid, .. }) if pid == std::process::id().to_string())
        );
        assert!(control_of(&name).is_ok());
        let dir = first.dir().to_owned();
        drop(first);
        assert!(matches!(control_of(&name), Err(Error::NotRunning { .. })));
        let second = Instance::claim(&name).unwrap();
        drop(second);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_are_claimed_side_by_side_while_others_ask_and_clear_up() {
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let name = format!("beside-{}-{number}", std::process::id());
                    for _ in 0..20 {
                        let claimed = Instance::claim(&name).unwrap();
                        let dir = claimed.dir().to_owned();
                        drop(claimed);
                        let _ = control_of(&name);
                        let _ = fs::remove_dir_all(dir);
                    }
                });
            }
        });
    }

    #[test]
    fn a_machine_that_has_ended_leaves_its_log_and_nothing_large_and_not_for_ever() {
        let runtime = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            let dir = runtime.path().join(format!("m{number}"));
            fs::create_dir(&dir).unwrap();
            for name in [LOCK, LOG, "bundle.tar", "memory"] {
                fs::write(dir.join(name), name).unwrap();
            }
        }
        let running = fs::File::open(runtime.path().join("m1").join(LOCK)).unwrap();
        running.lock().unwrap();
        sweep(runtime.path());
        assert!(runtime.path().join("m1/bundle.tar").exists(), "it runs");
        let left = fs::read_dir(runtime.path()).unwrap().flatten();
        let left: Vec<PathBuf> = left.map(|entry| entry.path()).collect();
        assert_eq!(left.len(), KEPT + 1);
        for dir in left.iter().filter(|dir| !dir.ends_with("m1")) {
            assert!(dir.join(LOG).exists() && !dir.join("bundle.tar").exists());
        }
    }

    #[test]
    fn a_stale_socket_is_removed() {
        let instance = Instance::temporary().unwrap();
        drop(std::os::unix::net::UnixListener::bind(instance.control()).unwrap());
        assert!(instance.control().exists());
        instance.clear().unwrap();
        assert!(!instance.control().exists());
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_runtime_directory() {
        assert!(matches!(directory("../etc"), Err(Error::Usage { .. })));
        assert!(matches!(directory(""), Err(Error::Usage { .. })));
    }
}
