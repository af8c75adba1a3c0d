//! A guest's run on Atoll and its run directly in QEMU, section by section.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use atoll::run::End;
use atoll::testing::{Boot, Booted};

/// Begins lines that only Atoll's run has.
const OWN: &str = "own ";
/// The last section of a guest that came to its end.
const END: &str = "end";

/// Both runs of one guest.
struct Runs {
    atoll: Booted,
    direct: Booted,
}

/// Each guest is booted once per process, whatever number of tests look at it.
static RUNS: Mutex<BTreeMap<&str, Arc<OnceLock<Runs>>>> = Mutex::new(BTreeMap::new());

fn runs(guest: &'static str) -> Arc<OnceLock<Runs>> {
    let runs = Arc::clone(RUNS.lock().unwrap().entry(guest).or_default());
    // Instructions are counted, so that interrupts come where they should also in QEMU, between the same two instructions.
    let boot = || Boot::guest(guest).icount();
    runs.get_or_init(|| Runs { atoll: boot().run().unwrap(), direct: boot().direct().run().unwrap() });
    runs
}

/// The lines of a section.
fn lines<'t>(console: &'t str, section: &str) -> Option<Vec<&'t str>> {
    let mut lines = console.lines().map(str::trim_end).skip_while(|line| *line != format!("[{section}]"));
    lines.next()?;
    Some(lines.take_while(|line| !line.starts_with('[')).collect())
}

/// In both runs every check of the section is right, and both print the same.
pub(crate) fn agree(guest: &'static str, section: &str) {
    let runs = runs(guest);
    let Runs { atoll, direct } = runs.get().unwrap();
    let [mine, reference] = [(atoll, "on Atoll"), (direct, "directly in QEMU")].map(|(booted, place)| {
        let lines = lines(&booted.console, section);
        let lines = lines.unwrap_or_else(|| panic!("no section '{section}' {place}:\n{}\n{}", booted.console, booted.log));
        for line in &lines {
            let judged = line.strip_prefix(OWN).unwrap_or(line);
            assert!(judged.starts_with("ok ") || judged.starts_with("value "), "{place}: {line}\n{}", booted.log);
        }
        lines
    });
    assert!(!mine.is_empty(), "the section '{section}' is empty");
    let common: Vec<&str> = mine.into_iter().filter(|line| !line.starts_with(OWN)).collect();
    assert_eq!(common, reference, "on Atoll (left) and directly in QEMU");
}

/// Both runs came to the guest's end, and the machine was powered off.
pub(crate) fn complete(guest: &'static str) {
    let runs = runs(guest);
    let Runs { atoll, direct } = runs.get().unwrap();
    for booted in [atoll, direct] {
        assert!(lines(&booted.console, END).is_some(), "{}\n{}", booted.console, booted.log);
        assert_eq!((booted.status, &booted.ended.end), (0, &End::PowerOff), "{}", booted.log);
    }
}

/// The guest prints the same on a machine whose manifest has `to` in place of `from`.
pub(crate) fn same_after(guest: &'static str, from: &str, to: &str) {
    let runs = runs(guest);
    let other = Boot::guest(guest).icount().change(from, to).run().unwrap();
    assert_eq!(other.console, runs.get().unwrap().atoll.console, "changed (left) and as it was\n{}", other.log);
}
