//! A guest's run on Atoll and its run directly in QEMU, section by section.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use atoll::run::End;
use atoll::testing::{Boot, Booted};

use crate::kernel;

/// Begins lines that only Atoll's run has.
const OWN: &str = "own ";
/// Begins lines about what QEMU by itself does not do as the manuals say: name, what came out, what should, and why.
pub(crate) const DEVIATION: &str = "deviation ";
/// The same where Atoll leaves it to QEMU.
pub(crate) const LEFT: &str = "left ";
const ON_ATOLL: &str = "on Atoll";
/// The last section of a guest that came to its end.
const END: &str = "end";

/// Both runs of one guest.
pub(crate) struct Runs {
    pub(crate) atoll: Booted,
    pub(crate) direct: Booted,
}

/// Each guest is booted once per process, whatever number of tests look at it.
static RUNS: Mutex<BTreeMap<&str, Arc<OnceLock<Runs>>>> = Mutex::new(BTreeMap::new());

pub(crate) fn runs(guest: &'static str) -> Arc<OnceLock<Runs>> {
    let runs = Arc::clone(RUNS.lock().unwrap().entry(guest).or_default());
    // Instructions are counted, so that interrupts come where they should also in QEMU, between the same two instructions.
    let boot = || match kernel::arguments(guest) {
        Some(arguments) => Boot::guest(guest).icount().append(&arguments),
        None => Boot::guest(guest).icount(),
    };
    runs.get_or_init(|| Runs {
        atoll: boot().run().unwrap(),
        direct: boot().direct().run().unwrap(),
    });
    runs
}

/// The lines of a section.
fn lines<'t>(console: &'t str, section: &str) -> Option<Vec<&'t str>> {
    let mut lines = console
        .lines()
        .map(str::trim_end)
        .skip_while(|line| *line != format!("[{section}]"));
    lines.next()?;
    Some(lines.take_while(|line| !line.starts_with('[')).collect())
}

/// In both runs every check of the section is right, and both print the same.
pub(crate) fn agree(guest: &'static str, section: &str) {
    let runs = runs(guest);
    let Runs { atoll, direct } = runs.get().unwrap();
    let [mine, reference] =
        [(atoll, ON_ATOLL), (direct, "directly in QEMU")].map(|(booted, place)| {
            let lines = lines(&booted.console, section);
            let lines = lines.unwrap_or_else(|| {
                panic!(
                    "no section '{section}' {place}:\n{}\n{}",
                    booted.console, booted.log
                )
            });
            for line in &lines {
                if line.starts_with(LEFT) {
                    continue;
                }
                if line.starts_with(DEVIATION) {
                    let [_, got, want, _] = deviation(line);
                    assert!(
                        got == want || place != ON_ATOLL,
                        "{place}: {line}\n{}",
                        booted.log
                    );
                    continue;
                }
                let judged = line.strip_prefix(OWN).unwrap_or(line);
                assert!(
                    judged.starts_with("ok ") || judged.starts_with("value "),
                    "{place}: {line}\n{}",
                    booted.log
                );
            }
            lines
        });
    assert!(!mine.is_empty(), "the section '{section}' is empty");
    let common = |lines: &[&str]| -> Vec<String> {
        lines
            .iter()
            .filter(|line| {
                ![OWN, DEVIATION, LEFT]
                    .iter()
                    .any(|own| line.starts_with(own))
            })
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        common(&mine),
        common(&reference),
        "on Atoll (left) and directly in QEMU"
    );
}

/// Name, value, right value and reason of a deviation's line.
pub(crate) fn deviation(line: &str) -> [&str; 4] {
    let text = line
        .strip_prefix(DEVIATION)
        .or_else(|| line.strip_prefix(LEFT))
        .unwrap_or(line);
    let parts: Vec<&str> = text.split(" | ").collect();
    parts
        .try_into()
        .unwrap_or_else(|parts| panic!("expected 'name | got | right | why': {parts:?}"))
}

/// Both runs came to the guest's end, and the machine was powered off.
pub(crate) fn complete(guest: &'static str) {
    let runs = runs(guest);
    let Runs { atoll, direct } = runs.get().unwrap();
    for booted in [atoll, direct] {
        assert!(
            lines(&booted.console, END).is_some(),
            "{}\n{}",
            booted.console,
            booted.log
        );
        assert_eq!(
            (booted.status, &booted.ended.end),
            (0, &End::PowerOff),
            "{}",
            booted.log
        );
    }
    unharmed(atoll);
}

/// Neither the hypervisor nor a server of it was at fault.
pub(crate) fn unharmed(booted: &Booted) {
    assert!(
        !booted.log.contains("fault: server") && !booted.log.contains("hypervisor fault"),
        "{}",
        booted.log
    );
}

/// The guest prints the same on a machine whose manifest has `to` in place of `from`.
pub(crate) fn same_after(guest: &'static str, from: &str, to: &str) {
    let runs = runs(guest);
    let other = Boot::guest(guest).icount().change(from, to).run().unwrap();
    assert_eq!(
        other.console,
        runs.get().unwrap().atoll.console,
        "changed (left) and as it was\n{}",
        other.log
    );
}
