//! Processes and threads, a few dozen at a time.

use std::process::{Child, Command, Stdio};
use std::thread;

use super::{Ground, expect};
use crate::dice::Dice;
use crate::puppet::{Puppet, Wrong};

/// The argument that makes of this program one that ends at once, with the status that follows.
pub(crate) const ENDS: &str = "ends";
const PROCESSES: u64 = 10;
const THREADS: u64 = 12;

pub(super) fn run(ground: &mut Ground<'_>) -> Result<(), Wrong> {
    let mut children: Vec<(i32, Child)> = Vec::new();
    for _ in 0..PROCESSES {
        let status = ground.dice.below(100) as i32;
        let child = Command::new("/proc/self/exe")
            .args([ENDS, &status.to_string()])
            .stdin(Stdio::null())
            .spawn();
        children.push((
            status,
            child.map_err(|error| format!("a process: {error}"))?,
        ));
    }
    for (status, mut child) in children {
        let ended = child.wait().map_err(|error| format!("waiting: {error}"))?;
        expect("a status", ended.code(), Some(status))?;
    }
    let seed = ground.dice.any();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| thread::spawn(move || work(seed ^ number)))
        .collect();
    for (number, thread) in (0..).zip(threads) {
        let sum = thread.join().map_err(|_| "a thread panicked".to_owned())?;
        expect("a thread's sum", sum, work(seed ^ number))?;
    }
    // Children that are stopped, all at once.
    let puppets: Result<Vec<Puppet>, Wrong> = (0..PROCESSES).map(|_| Puppet::new()).collect();
    for puppet in puppets?.iter().rev() {
        expect(
            "a system call",
            puppet.call(39, [0; 6])?,
            i64::from(puppet.pid().as_raw()),
        )?;
    }
    Ok(())
}

/// Sums, of integers and of floats, which give way to others again and again.
fn work(seed: u64) -> (u64, u64) {
    let (mut dice, mut sum, mut float) = (Dice::new(seed), 0_u64, 1.0_f64);
    for round in 0..2000 {
        sum = sum.wrapping_add(dice.any());
        float = (float * 1.5 + (sum >> 40) as f64).sqrt();
        if round % 100 == 0 {
            thread::yield_now();
        }
    }
    (sum, float.to_bits())
}
