//! Snapshots: a machine at an instant that can be found again.
//!
//! A milestone on the guest's console is seen too late and at no exact time, so a first run only looks for the time at which it has been
//! passed. A second run, from the start, stops exactly at the first activation from that time on. So a snapshot is a function of the
//! machine and of one number, and can be made again elsewhere.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atoll_protocol::inject::Plan;
use sha2::{Digest, Sha256};

use super::Lab;
use super::machine::Running;
use crate::error::{Error, Result};
use crate::progress::Step;

/// How long a boot to a milestone may take, by the host's clock.
const WALL: Duration = Duration::from_secs(300);
/// How often a boot is made again that did not come to the same instant as before.
const ATTEMPTS: usize = 8;

/// Where experiments begin.
#[derive(Clone, Debug)]
pub enum Begin {
    /// At the kernel's first activation.
    Start,
    /// When the guest's console has shown this.
    Milestone(regex::bytes::Regex),
    /// At this time: where a milestone was found to be, in another run.
    Time(u64),
}

/// A machine at an instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its memory.
    pub memory: PathBuf,
    /// The rest of its state.
    pub state: PathBuf,
    /// From when on the machine was to be stopped, in ticks.
    pub at: u64,
    /// When runs go on from there, by the clock of the second activation.
    pub reached: u64,
    /// SHA-256 of the memory.
    pub hash: String,
}

impl Snapshot {
    /// Takes it, into `dir`. `wanted` is when runs went on from the same snapshot before: QEMU, on a busy host, now and then lets some
    /// milliseconds of virtual time more or less pass while it stops the machine, and then the boot is made again. Without it the boot is
    /// made until two come to the same: what came once may never come again, and nothing that went on from there could be replayed.
    pub fn take(lab: &Lab, begin: &Begin, wanted: Option<u64>, dir: &Path) -> Result<Self> {
        let mut taken = Self::take_once(lab, begin, dir)?;
        let mut seen: Vec<u64> = wanted.into_iter().collect();
        for _ in 1..ATTEMPTS {
            if seen.contains(&taken.reached) {
                break;
            }
            if wanted.is_none() {
                seen.push(taken.reached);
            }
            taken = Self::take_once(lab, &Begin::Time(taken.at), dir)?;
        }
        Ok(taken)
    }

    fn take_once(lab: &Lab, begin: &Begin, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::file(dir))?;
        let dir = &dir.canonicalize().map_err(Error::file(dir))?;
        let (memory, state) = (dir.join("memory"), dir.join("state"));
        let at = match begin {
            Begin::Start => 1,
            Begin::Time(at) => *at,
            Begin::Milestone(shown) => {
                Step::of("Looking for the milestone", |_| scout(lab, shown, &memory))?
            }
        };
        let _step = Step::begin("Taking a snapshot");
        let run = tempfile::Builder::new()
            .prefix("atoll-")
            .tempdir()
            .map_err(Error::file(dir))?;
        remove(&memory)?;
        let mut machine = Running::start(lab, run.path(), &memory, true, false)?;
        machine.leave(&Plan {
            sequence: 1,
            pause: at,
            ..Plan::NONE
        })?;
        machine.run_to_pause()?;
        machine.monitor().save(&state)?;
        drop(machine);
        let hash = hash_of(&memory)?;
        let mut snapshot = Self {
            memory,
            state,
            at,
            reached: 0,
            hash,
        };
        snapshot.reached = snapshot.goes_on_at(lab)?;
        Ok(snapshot)
    }

    /// What time it is for whoever goes on from here, at the second activation. That is not for the stopped machine to say: after the
    /// instruction that stops it, QEMU may still let virtual time leap to the next timer.
    fn goes_on_at(&self, lab: &Lab) -> Result<u64> {
        let run = tempfile::Builder::new()
            .prefix("atoll-")
            .tempdir()
            .map_err(Error::file(&self.state))?;
        let mut machine = self.restore(lab, run.path())?;
        machine.leave(&Plan {
            sequence: 2,
            pause: 1,
            ..Plan::NONE
        })?;
        machine.run_to_pause()
    }

    /// A machine that goes on from here, stopped.
    pub fn restore<'l>(&self, lab: &'l Lab, dir: &Path) -> Result<Running<'l>> {
        let mut machine = Running::start(lab, dir, &self.memory, false, true)?;
        machine.monitor().load(&self.state)?;
        Ok(machine)
    }
}

/// The time at which the console has shown something.
fn scout(lab: &Lab, shown: &regex::bytes::Regex, memory: &Path) -> Result<u64> {
    let run = tempfile::Builder::new()
        .prefix("atoll-")
        .tempdir()
        .map_err(Error::file(memory))?;
    remove(memory)?;
    let mut machine = Running::start(lab, run.path(), memory, true, false)?;
    machine.leave(&Plan {
        sequence: 1,
        ..Plan::NONE
    })?;
    machine.run_until(shown, WALL)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}

/// SHA-256 of a file's content.
pub fn hash_of(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).map_err(Error::file(path))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).map_err(Error::file(path))? {
            0 => break,
            read => hash.update(&chunk[..read]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
