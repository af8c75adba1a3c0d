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
ports = ["0x5e0..=0x5ef"]
raises = [5]
mail = { console = 2 }
timers = 2
budget = "50ms"
period = "30ms"
[server.rogue.options]
misdeed = "#;

/// The rogue's number: the last server of the machine.
pub(crate) const NUMBER: usize = 13;

/// A machine with a rogue that is up to `misdeed`.
pub(crate) fn machine(misdeed: Misdeed) -> Boot {
    let manifest = format!("{}{ROGUE}{:?}", atoll::machine::LINUX, String::from_utf8_lossy(&misdeed.option()));
    Boot::guest("rogue").manifest(&manifest).memory(32 << 20)
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
    let lines = || booted.log.lines().filter_map(|line| line.split_once("] ").map(|(_, line)| line));
    let faults = lines().filter_map(|line| line.strip_prefix("fault: ")).map(str::to_owned).collect();
    let digests = lines().filter_map(|line| line.strip_prefix("digest ")?.rsplit_once(' '));
    let digests = digests.map(|(of, digest)| (of.to_owned(), digest.to_owned())).collect();
    Outcome { console: booted.console, faults, digests }
}

/// The run that the others are compared with.
fn control() -> &'static Outcome {
    static CONTROL: OnceLock<Outcome> = OnceLock::new();
    CONTROL.get_or_init(|| run(Ticket::AnswerNothing.into()))
}

/// Exactly the rogue is faulted, for this reason and this effect of its answer, and nothing else differs from the control run.
#[track_caller]
pub(crate) fn assert_contained(misdeed: Misdeed, reason: Reason, effect: usize) {
    assert_differs_only(misdeed, reason, effect, |_| false);
}

/// The same, but for those digests that `may_differ`.
#[track_caller]
pub(crate) fn assert_differs_only(misdeed: Misdeed, reason: Reason, effect: usize, may_differ: impl Fn(&str) -> bool) {
    let outcome = run(misdeed);
    let fault = format!("server {NUMBER} `rogue` (role serial, generation 1) broke a rule: {reason:?} (effect {effect})");
    assert_eq!(outcome.faults, [fault]);
    let control = control();
    assert_eq!(outcome.console, control.console);
    assert!(outcome.console.ends_with("counted to 36\n"), "{}", outcome.console);
    assert!(outcome.digests.len() > 2 * (NUMBER - 1), "{:?}", outcome.digests);
    assert_eq!(kept(&outcome.digests, &may_differ), kept(&control.digests, &may_differ));
}

fn kept<'d>(digests: &'d BTreeMap<String, String>, may_differ: &impl Fn(&str) -> bool) -> Vec<(&'d String, &'d String)> {
    digests.iter().filter(|(of, _)| !may_differ(of)).collect()
}
