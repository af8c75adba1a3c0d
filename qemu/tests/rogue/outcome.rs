//! What a run ended in, taken from the kernel's log and the console, and held against a control run.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use atoll::run::End;
use atoll::testing::Boot;
use atoll_protocol::fault::Reason;
use atoll_rogue::{Misdeed, Ticket};

/// The rogue's part of the manifest. One credit more than an answer without malice uses.
const ROGUE: &str = r#"
[server.rogue]
role = "serial"
image = "rogue"
unchecked = true
ports = ["0x5e0..=0x5ef"]
raises = [5]
mail = { console = 2 }
timers = 2
budget = "50ms"
period = "30ms"
restart = { attempts = 0, then = "stop" }
[server.rogue.options]
misdeed = "#;

/// The rogue's number: the last server of the machine.
pub(crate) const NUMBER: usize = 13;

/// A machine with a rogue that is up to `misdeed`.
pub(crate) fn machine(misdeed: Misdeed) -> Boot {
    let manifest = format!(
        "{}{ROGUE}{:?}",
        atoll_manifest::LINUX,
        String::from_utf8_lossy(&misdeed.option())
    );
    Boot::guest("rogue").manifest(&manifest).memory(32 << 20)
}

/// The same, without the mark that lets its image have any instruction.
pub(crate) fn checked_machine(misdeed: Misdeed) -> Boot {
    machine(misdeed).change("unchecked = true\n", "")
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The guest's console.
    pub(crate) console: String,
    /// What broke which rule.
    pub(crate) faults: Vec<String>,
    /// Digests by when and of what.
    pub(crate) digests: BTreeMap<String, String>,
}

/// Runs a machine with a rogue up to its end.
pub(crate) fn run(misdeed: Misdeed) -> Outcome {
    let booted = machine(misdeed).icount().digests().run().unwrap();
    assert_eq!(booted.ended.end, End::ServerFault, "{}", booted.log);
    let lines = || {
        booted
            .log
            .lines()
            .filter_map(|line| line.split_once("] ").map(|(_, line)| line))
    };
    let faults = lines()
        .filter_map(|line| line.strip_prefix("fault: "))
        .map(str::to_owned)
        .collect();
    let digests = lines().filter_map(|line| line.strip_prefix("digest ")?.rsplit_once(' '));
    let digests = digests
        .map(|(of, digest)| (of.to_owned(), digest.to_owned()))
        .collect();
    Outcome {
        console: booted.console,
        faults,
        digests,
    }
}

/// The run that the others are compared with.
fn control() -> &'static Outcome {
    static CONTROL: OnceLock<Outcome> = OnceLock::new();
    CONTROL.get_or_init(|| run(Ticket::AnswerNothing.into()))
}

/// The reasons that are right: one, or two where emulators differ.
pub(crate) struct Reasons(Vec<Reason>);

impl From<Reason> for Reasons {
    fn from(reason: Reason) -> Self {
        Self(vec![reason])
    }
}

impl From<[Reason; 2]> for Reasons {
    fn from(reasons: [Reason; 2]) -> Self {
        Self(reasons.to_vec())
    }
}

/// Exactly the rogue is faulted, for this reason and this effect of its answer, and nothing else differs from the control run.
#[track_caller]
pub(crate) fn assert_contained(misdeed: Misdeed, reasons: impl Into<Reasons>, effect: usize) {
    run(misdeed).assert(&reasons.into().0, effect, |_| false);
}

impl Outcome {
    /// The same, but for digests that may differ.
    #[track_caller]
    pub(crate) fn assert(
        &self,
        reasons: &[Reason],
        effect: usize,
        may_differ: impl Fn(&str) -> bool,
    ) {
        let fault = |reason| {
            format!(
                "server {NUMBER} `rogue` (role serial, generation 1) broke a rule: {reason:?} (effect {effect})"
            )
        };
        let expected: Vec<String> = reasons.iter().map(fault).collect();
        assert!(
            self.faults.len() == 1 && expected.contains(&self.faults[0]),
            "{:?} is not one of {expected:?}",
            self.faults
        );
        let control = control();
        assert_eq!(self.console, control.console);
        assert!(
            self.console.ends_with("counted to 36\n"),
            "{}",
            self.console
        );
        assert_eq!(
            self.digests.len(),
            2 * (NUMBER + 2),
            "vaults but the loader's, memory, vcpu; twice: {:?}",
            self.digests
        );
        let of_both = self.digests.iter().zip(&control.digests);
        let different: Vec<_> = of_both
            .filter(|(mine, its)| mine != its && !may_differ(mine.0))
            .collect();
        assert!(different.is_empty(), "it has changed {different:?}");
    }
}
