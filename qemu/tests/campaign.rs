//! Campaigns over a guest of a few instructions: plan, snapshot, experiments, records, replay; and boots with one fault.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use atoll::campaign::outcome::Outcome;
use atoll::campaign::record::Record;
use atoll::campaign::store;

const PLAN: &str = r#"
campaign = 1
name = "a test"
guest = "hello"
[[phase]]
name = "boot"
begin = "start"
[[sweep]]
faults = ["crash", "duplicate"]
servers = ["cpuid"]
[[run]]
phase = "boot"
faults = ["flip-answer cpuid/cpuid nth=1", "crash cpuid/cpuid nth=1000000"]
[[run]]
phase = "boot"
faults = ["crash cpuid/cpuid nth=1000000"]
"#;

fn atoll(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atoll")).args(arguments).current_dir(dir).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn record<'r>(records: &'r [Record], id: &str) -> &'r Record {
    records.iter().find(|record| record.id == id).unwrap_or_else(|| panic!("no record {id}"))
}

#[test]
fn a_campaign_is_run_and_resumed_and_its_records_replay_to_the_same_outcome_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    let ran = atoll(&["campaign", "run", "plan.toml", "--out", "out"], dir.path());
    assert!(ran.status.success(), "{}", text(&ran));
    let out = dir.path().join("out");
    let records = store::all(&out).unwrap();

    // Each message of the server is hit once by each fault.
    let crashes: Vec<&Record> = records.iter().filter(|record| record.id.starts_with("boot.cpuid.crash.")).collect();
    assert!(crashes.len() >= 2);
    for crash in &crashes {
        assert_eq!((crash.outcome, crash.injected, crash.detected, crash.recovered), (Outcome::Recovered, 1, 1, 1), "{crash:?}");
        assert!(crash.recover_ticks[0] > 0);
    }
    assert_eq!(record(&records, "boot.cpuid.duplicate.000").outcome, Outcome::Masked);
    assert_eq!(record(&records, "boot.run1.0000").outcome, Outcome::NotActivated);
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("recovered"));
    assert_eq!(fs::read_to_string(out.join("report.csv")).unwrap().lines().count(), records.len() + 1);

    // What was recorded is left out: the rest has the same outcome as before.
    store::write(&out.join("records.jsonl"), &records[1..]).unwrap();
    let resumed = atoll(&["campaign", "run", "plan.toml", "--out", "out", "--resume"], dir.path());
    assert!(resumed.status.success(), "{}", text(&resumed));
    let again = store::all(&out).unwrap();
    assert_eq!(again.len(), records.len());
    assert_eq!((again[0].outcome, &again[0].events), (records[0].outcome, &records[0].events));

    let replayed = atoll(&["campaign", "replay", "boot.cpuid.crash.001", "--out", "out"], dir.path());
    assert!(replayed.status.success(), "{}", text(&replayed));
    assert!(text(&replayed).contains("recovered, as recorded: recovered"));

    // A record of another build is refused, with the difference.
    let mut other = record(&records, "boot.cpuid.crash.001").clone();
    other.depends.kernel = "0123".into();
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::copy(out.join("plan.toml"), dir.path().join("other/plan.toml")).unwrap();
    store::write(&dir.path().join("other/records.jsonl"), &[other]).unwrap();
    let refused = atoll(&["campaign", "replay", "boot.cpuid.crash.001", "--out", "other"], dir.path());
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused).contains("kernel: \"0123\" in the record"), "{}", text(&refused));
}

#[test]
fn a_boot_with_a_fault_goes_on_and_its_log_says_that_the_fault_was_injected() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("inject-{}", std::process::id());
    let fault = "crash cpuid/cpuid nth=1";
    let booted = atoll(&["boot", "hello", "--inject", fault, "--name", &name, "--timeout", "100"], dir.path());
    assert!(booted.status.success(), "{}", text(&booted));
    assert!(text(&booted).contains("Hello from inside Atoll"));
    let log = atoll::run::instance::directory(&name).unwrap().join("kernel.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("inject: injected entry=0") && log.contains("inject: recovered"), "{log}");
}

#[test]
fn the_kernel_that_runs_guests_contains_no_fault_injection() {
    use atoll::bare::{Toolchain, build};
    let (workspace, toolchain) = (atoll::place::workspace().unwrap(), Toolchain::find(Default::default()).unwrap());
    let contains = |kernel: &Path, what: &[u8]| fs::read(kernel).unwrap().windows(what.len()).any(|window| window == what);
    let plain = build::system(&workspace, &toolchain).unwrap().kernel();
    let injecting = build::injecting_kernel(&workspace, &toolchain).unwrap().kernel();
    for trace in [&b"ATOLL_PLAN"[..], b"inject: "] {
        assert!(contains(&injecting, trace), "the test looks for what is not even in the instrumented kernel");
        assert!(!contains(&plain, trace), "{}", String::from_utf8_lossy(trace));
    }
}
