//! How an experiment went, found by comparing it with the golden run.

use serde::{Deserialize, Serialize};

pub use super::console::Console;
use super::journal::Journal;
use crate::run::End;

/// The classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No message came that the fault would have hit.
    NotActivated,
    /// The guest saw nothing, and no server had to recover.
    Masked,
    /// The guest saw nothing, after a recovery.
    Recovered,
    /// The guest's kernel said something else, and its work came out right.
    Degraded,
    /// The guest finished with another output.
    SilentCorruption,
    /// The guest did not finish in time.
    GuestHang,
    /// The guest's kernel gave up, or its machine was stopped.
    GuestCrash,
    /// A server was put out of action for good, and the guest finished.
    Quarantined,
    /// Atoll's kernel failed.
    HypervisorCrash,
    /// The experiment itself failed.
    HarnessError,
}

impl Outcome {
    /// All classes, the harmless first.
    pub const ALL: [Outcome; 10] = [
        Outcome::NotActivated,
        Outcome::Masked,
        Outcome::Recovered,
        Outcome::Degraded,
        Outcome::Quarantined,
        Outcome::SilentCorruption,
        Outcome::GuestHang,
        Outcome::GuestCrash,
        Outcome::HypervisorCrash,
        Outcome::HarnessError,
    ];

    /// Its name in records and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::NotActivated => "not-activated",
            Outcome::Masked => "masked",
            Outcome::Recovered => "recovered",
            Outcome::Degraded => "degraded",
            Outcome::SilentCorruption => "silent-corruption",
            Outcome::GuestHang => "guest-hang",
            Outcome::GuestCrash => "guest-crash",
            Outcome::Quarantined => "quarantined",
            Outcome::HypervisorCrash => "hypervisor-crash",
            Outcome::HarnessError => "harness-error",
        }
    }

    /// Whether the guest was as well off as without the fault.
    #[must_use]
    pub const fn is_unnoticed(self) -> bool {
        matches!(
            self,
            Outcome::NotActivated | Outcome::Masked | Outcome::Recovered
        )
    }
}

/// A run, as far as its class depends on it.
#[derive(Debug)]
pub struct Seen<'r> {
    /// How it ended; `None` if it had to be ended by the host's clock.
    pub end: Option<&'r End>,
    /// What the guest printed.
    pub console: &'r Console,
    /// What the kernel's log tells.
    pub journal: &'r Journal,
}

/// The class, and where the console first differs from the golden run's, if it does.
#[must_use]
pub fn classify(seen: &Seen<'_>, was: &Console) -> (Outcome, Option<Difference>) {
    let is = seen.console;
    let difference = Difference::between(&was.all, &is.all);
    let outcome = match seen.end {
        // The plan's own time, which is virtual, was not up: that is no guest's doing.
        None => Outcome::HarnessError,
        Some(End::Refused | End::TimedOut | End::Quit) => Outcome::HarnessError,
        Some(End::HypervisorFault | End::Unexpected(_)) => Outcome::HypervisorCrash,
        Some(End::Overtime) => Outcome::GuestHang,
        Some(End::GuestCrash | End::Reset | End::ServerFault) => Outcome::GuestCrash,
        Some(End::PowerOff) if is.panicked => Outcome::GuestCrash,
        Some(End::PowerOff) if !seen.journal.planned => Outcome::HarnessError,
        Some(End::PowerOff) => match (&difference, seen.journal.injected()) {
            // A run without a fault that prints something else: it does not repeat.
            (Some(_), 0) => Outcome::HarnessError,
            (None, 0) => Outcome::NotActivated,
            (None, _) if seen.journal.quarantined => Outcome::Quarantined,
            (None, _) if seen.journal.recovered() > 0 => Outcome::Recovered,
            (None, _) => Outcome::Masked,
            (Some(_), _) if is.work == was.work => Outcome::Degraded,
            (Some(_), _) if seen.journal.quarantined => Outcome::Quarantined,
            (Some(_), _) => Outcome::SilentCorruption,
        },
    };
    (outcome, difference)
}

/// The first line in which two consoles differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its number, from 1.
    pub line: usize,
    /// What the golden run had; nothing if it had ended.
    pub golden: Option<String>,
    /// What this one had.
    pub here: Option<String>,
}

impl Difference {
    fn between(golden: &[String], here: &[String]) -> Option<Self> {
        let line =
            (0..golden.len().max(here.len())).find(|line| golden.get(*line) != here.get(*line))?;
        Some(Self {
            line: line + 1,
            golden: golden.get(line).cloned(),
            here: here.get(line).cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = b"[    0.000000] Linux\r\nhello\r\n[    1.250000] reboot: Power down\r\n";
    const RECOVERED: &str = "inject: plan\ninject: injected entry=0 server=1 kind=1 nth=1 at=1\ninject: recovered server=1 at=2\n";
    const INJECTED: &str = "inject: plan\ninject: injected entry=0 server=1 kind=1 nth=1 at=1\n";

    fn class(end: &End, console: &[u8], log: &str) -> Outcome {
        let console = &Console::of(console, &[]);
        classify(
            &Seen {
                end: Some(end),
                console,
                journal: &Journal::read(log),
            },
            &Console::of(GOLDEN, &[]),
        )
        .0
    }

    #[test]
    fn the_kernels_times_do_not_count() {
        let later = b"[    0.000000] Linux\r\nhello\r\n[    9.999999] reboot: Power down\r\n";
        assert_eq!(class(&End::PowerOff, later, INJECTED), Outcome::Masked);
        assert_eq!(class(&End::PowerOff, later, RECOVERED), Outcome::Recovered);
        assert_eq!(
            class(&End::PowerOff, later, "inject: plan"),
            Outcome::NotActivated
        );
    }

    #[test]
    fn another_word_of_the_kernels_is_degraded_and_another_word_of_the_works_is_corruption() {
        let complaint = b"[    0.000000] Linux\r\n[    0.500000] clocksource: timekeeping watchdog\r\nhello\r\n[    1.250000] reboot: Power down\r\n";
        assert_eq!(
            class(&End::PowerOff, complaint, INJECTED),
            Outcome::Degraded
        );
        let wrong = b"[    0.000000] Linux\r\nhellp\r\n[    1.250000] reboot: Power down\r\n";
        assert_eq!(
            class(&End::PowerOff, wrong, INJECTED),
            Outcome::SilentCorruption
        );
        let seen = Seen {
            end: Some(&End::PowerOff),
            console: &Console::of(wrong, &[]),
            journal: &Journal::read(INJECTED),
        };
        let difference = classify(&seen, &Console::of(GOLDEN, &[])).1.unwrap();
        assert_eq!(
            (difference.line, difference.here.as_deref()),
            (2, Some("hellp\r"))
        );
    }

    #[test]
    fn ends_that_are_no_power_off_have_classes_of_their_own() {
        assert_eq!(class(&End::Overtime, GOLDEN, INJECTED), Outcome::GuestHang);
        assert_eq!(
            class(&End::GuestCrash, GOLDEN, INJECTED),
            Outcome::GuestCrash
        );
        assert_eq!(
            class(&End::HypervisorFault, GOLDEN, INJECTED),
            Outcome::HypervisorCrash
        );
        assert_eq!(
            class(&End::Unexpected("x".into()), GOLDEN, INJECTED),
            Outcome::HypervisorCrash
        );
        assert_eq!(
            class(
                &End::PowerOff,
                b"[    0.0] Kernel panic - not syncing: x",
                INJECTED
            ),
            Outcome::GuestCrash
        );
    }

    #[test]
    fn a_run_without_a_fault_that_differs_is_an_error_of_the_harness() {
        assert_eq!(
            class(&End::PowerOff, b"else", "inject: plan"),
            Outcome::HarnessError
        );
        assert_eq!(class(&End::PowerOff, GOLDEN, ""), Outcome::HarnessError);
    }
}
