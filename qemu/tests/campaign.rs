//! Campaigns over a guest of a few instructions: plan, snapshot, experiments, records, replay; and boots with one fault.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use atoll::campaign::journal::Event;
use atoll::campaign::outcome::Outcome;
use atoll::campaign::record::Record;
use atoll::campaign::store;
use tempfile::TempDir;

const PLAN: &str = r#"
campaign = 1
name = "a test"
guest = "hello"
[[phase]]
name = "boot"
begin = "start"
controls = 2
[[sweep]]
faults = ["crash", "duplicate"]
servers = ["cpuid"]
[[run]]
phase = "boot"
faults = ["flip-answer cpuid/cpuid nth=1", "crash cpuid/cpuid nth=1000000"]
[[run]]
phase = "boot"
faults = ["crash cpuid/cpuid nth=1000000"]
[[run]]
phase = "boot"
faults = ["crash cpuid every=1 limit=3", "duplicate cpuid every=1", "slow:1000 uart every=1"]
[[run]]
phase = "boot"
faults = ["swap:uart uart/port-write nth=5"]
[[run]]
phase = "boot"
faults = ["kill:supervisor uart every=3 limit=20"]
[[fail-nth]]
phase = "boot"
fault = "crash supervisor during=recovery"
with = ["crash cpuid/cpuid nth=1"]
"#;

fn atoll(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn record<'r>(records: &'r [Record], id: &str) -> &'r Record {
    records
        .iter()
        .find(|record| record.id == id)
        .unwrap_or_else(|| panic!("no record {id}"))
}

/// A directory in which the plan was run, into `out`.
static RAN: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    let ran = atoll(
        &["campaign", "run", "plan.toml", "--out", "out"],
        dir.path(),
    );
    assert!(ran.status.success(), "{}", text(&ran));
    assert!(
        text(&ran).contains("of 2 runs without a fault 0 differed"),
        "{}",
        text(&ran)
    );
    dir
});

fn ran() -> Vec<Record> {
    store::all(&RAN.path().join("out")).unwrap()
}

/// The plan and some of its records in another directory.
fn copied(records: &[Record]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    store::write(&dir.path().join("records.jsonl"), records).unwrap();
    dir
}

#[test]
fn each_message_is_hit_once_by_each_fault_and_the_report_says_what_came_of_it() {
    let records = ran();
    let crashes: Vec<&Record> = records
        .iter()
        .filter(|record| record.id.starts_with("boot.cpuid.crash."))
        .collect();
    assert!(crashes.len() >= 2);
    for crash in &crashes {
        assert_eq!(
            (
                crash.outcome,
                crash.injected,
                crash.detected,
                crash.recovered
            ),
            (Outcome::Recovered, 1, 1, 1),
            "{crash:?}"
        );
        assert!(crash.recover_ticks[0] > 0);
        assert!(
            !crash.depends.guest_kernel.is_empty()
                && crash.depends.arguments.contains("-icount")
                && !crash.revision.is_empty()
        );
    }
    assert_eq!(
        record(&records, "boot.cpuid.duplicate.000").outcome,
        Outcome::Masked
    );
    assert_eq!(
        record(&records, "boot.run1.0000").outcome,
        Outcome::NotActivated
    );
    let out = RAN.path().join("out");
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        report.contains("<svg")
            && report.contains("recovered")
            && report.contains("recover: cpuid")
    );
    assert_eq!(
        fs::read_to_string(out.join("report.csv"))
            .unwrap()
            .lines()
            .count(),
        records.len() + 1
    );
}

#[test]
fn a_message_that_is_delivered_again_after_a_fault_is_not_hit_again_not_even_the_first() {
    let records = ran();
    let several = record(&records, "boot.run2.0000");
    let hits = several.events.iter().filter_map(|event| match event {
        Event::Injected {
            server, kind, nth, ..
        } => Some((*server, *kind, *nth)),
        _ => None,
    });
    let hits: Vec<_> = hits.collect();
    assert!(hits.len() > 3, "{several:?}");
    assert_eq!(
        hits.iter().collect::<BTreeSet<_>>().len(),
        hits.len(),
        "{hits:?}"
    );
}

#[test]
fn a_series_ends_when_nothing_is_hit_any_more() {
    let records = ran();
    let series: Vec<&Record> = records
        .iter()
        .filter(|record| record.id.starts_with("boot.nth0."))
        .collect();
    let (last, others) = series.split_last().unwrap();
    assert!(
        !others.is_empty()
            && others
                .iter()
                .all(|record| record.hits(0) == 1 && record.outcome == Outcome::Recovered),
        "{series:?}"
    );
    assert_eq!((last.hits(0), last.outcome), (0, Outcome::Recovered));
}

#[test]
fn an_idle_supervisor_may_be_killed_as_often_as_somebody_likes() {
    let records = ran();
    let killed = record(&records, "boot.run4.0000");
    assert_eq!(
        (killed.outcome, killed.injected, killed.detected),
        (Outcome::Recovered, 20, 20),
        "{killed:?}"
    );
}

#[test]
fn a_server_is_exchanged_in_the_middle_of_a_request_and_the_blackout_is_told() {
    let records = ran();
    let swap = record(&records, "boot.run3.0000");
    assert_eq!(swap.outcome, Outcome::Masked, "{swap:?}");
    assert!(
        swap.events
            .iter()
            .any(|event| matches!(event, Event::Exchanged { .. })),
        "{swap:?}"
    );
    assert!(
        swap.blackout_ticks.len() == 1 && swap.blackout_ticks[0] > 0,
        "{swap:?}"
    );
}

/// For the last 244 microseconds of each second the host's clock says that it is about to change.
#[test]
fn no_successor_waits_for_the_hosts_clock() {
    const PLAN: &str = r#"
campaign = 1
name = "swaps about the end of the first second"
guest = "ticks"
[[phase]]
name = "ticking"
begin = "start"
dialogue = [["tick 2450 is", "q"]]
controls = 0
[[run]]
phase = "ticking"
faults = ["swap:irqchip irqchip every=1 from=8050 limit=400"]
"#;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    let ran = atoll(
        &["campaign", "run", "plan.toml", "--out", "out"],
        dir.path(),
    );
    assert!(ran.status.success(), "{}", text(&ran));
    let records = store::all(&dir.path().join("out")).unwrap();
    let swaps = record(&records, "ticking.run0.0000");
    let exchanged = swaps.events.iter().filter_map(|event| match event {
        Event::Exchanged { at, .. } => Some(*at),
        _ => None,
    });
    let (before, after): (Vec<u64>, Vec<u64>) = exchanged.partition(|at| *at < 1_000_000_000);
    assert!(
        before.len() > 20 && after.len() > 20,
        "not about the end of a second: {swaps:?}"
    );
    assert!(
        swaps.blackout_ticks.iter().all(|ticks| *ticks < 100_000),
        "{:?}",
        swaps.blackout_ticks
    );
}

#[test]
fn a_run_is_resumed_where_it_was_ended() {
    let records = ran();
    // The last of a series, too, which goes on from there.
    let dir = copied(&records[1..records.len() - 1]);
    let resumed = atoll(
        &["campaign", "run", "plan.toml", "--out", ".", "--resume"],
        dir.path(),
    );
    assert!(resumed.status.success(), "{}", text(&resumed));
    let again = store::all(dir.path()).unwrap();
    assert_eq!(again.len(), records.len());
    for (again, record) in again.iter().zip(&records) {
        assert_eq!(
            (&again.id, again.outcome, &again.console),
            (&record.id, record.outcome, &record.console)
        );
        assert_eq!(again.events, record.events, "{}", record.id);
    }
}

#[test]
fn shards_are_merged_to_what_one_run_leaves_and_records_of_another_machine_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.toml"), PLAN).unwrap();
    for (shard, out) in [("1/2", "one"), ("2/2", "two")] {
        let ran = atoll(
            &[
                "campaign",
                "run",
                "plan.toml",
                "--shard",
                shard,
                "--out",
                out,
            ],
            dir.path(),
        );
        assert!(ran.status.success(), "{}", text(&ran));
    }
    let merged = atoll(
        &["campaign", "merge", "one", "two", "--out", "all"],
        dir.path(),
    );
    assert!(merged.status.success(), "{}", text(&merged));
    let (all, whole) = (store::all(&dir.path().join("all")).unwrap(), ran());
    assert_eq!(all.len(), whole.len());
    // Each shard has a snapshot of its own, perhaps at another instant.
    let outcomes = |records: &[Record]| {
        records
            .iter()
            .map(|record| (record.id.clone(), record.outcome))
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&all), outcomes(&whole));
    let replayed = atoll(
        &[
            "campaign",
            "replay",
            "boot.cpuid.crash.000",
            "boot.cpuid.crash.001",
            "--out",
            "all",
        ],
        dir.path(),
    );
    assert!(replayed.status.success(), "{}", text(&replayed));

    let other = dir.path().join("one/records-1-of-2.jsonl");
    let mut records = store::read(&other).unwrap();
    records
        .iter_mut()
        .for_each(|record| record.depends.qemu = "1.0.0".into());
    store::write(&other, &records).unwrap();
    let refused = atoll(
        &["campaign", "merge", "one", "two", "--out", "all"],
        dir.path(),
    );
    assert_eq!(refused.status.code(), Some(125));
    assert!(
        text(&refused).contains("qemu: \"1.0.0\""),
        "{}",
        text(&refused)
    );
}

#[test]
fn records_replay_to_the_same_outcome_by_name_or_drawn_at_random() {
    let replayed = atoll(
        &[
            "campaign",
            "replay",
            "boot.cpuid.crash.001",
            "boot.run3.0000",
            "--out",
            "out",
        ],
        RAN.path(),
    );
    assert!(replayed.status.success(), "{}", text(&replayed));
    assert!(text(&replayed).contains("boot.cpuid.crash.001: recovered, as recorded: recovered"));
    let drawn = atoll(
        &[
            "campaign", "replay", "--sample", "2", "--seed", "5", "--out", "out",
        ],
        RAN.path(),
    );
    assert!(drawn.status.success(), "{}", text(&drawn));
    assert!(
        text(&drawn).contains("drawn with --seed 5")
            && text(&drawn).matches("as recorded").count() == 2,
        "{}",
        text(&drawn)
    );
}

#[test]
fn a_record_that_does_not_say_what_happens_is_found_out_by_its_replay() {
    let mut wrong = record(&ran(), "boot.cpuid.crash.001").clone();
    wrong.outcome = Outcome::Masked;
    let replayed = atoll(
        &["campaign", "replay", "boot.cpuid.crash.001", "--out", "."],
        copied(&[wrong]).path(),
    );
    assert_eq!(replayed.status.code(), Some(1), "{}", text(&replayed));
    assert!(text(&replayed).contains("recovered, as recorded: masked"));
}

#[test]
fn a_record_of_another_build_is_refused_with_the_difference() {
    let mut other = record(&ran(), "boot.cpuid.crash.001").clone();
    other.depends.kernel = "0123".into();
    let refused = atoll(
        &["campaign", "replay", "boot.cpuid.crash.001", "--out", "."],
        copied(&[other]).path(),
    );
    assert_eq!(refused.status.code(), Some(125));
    assert!(
        text(&refused).contains("kernel: \"0123\" in the record"),
        "{}",
        text(&refused)
    );
}

#[test]
fn of_many_faults_the_one_is_found_that_makes_the_outcome() {
    let least = atoll(
        &["campaign", "minimise", "boot.run2.0000", "--out", "out"],
        RAN.path(),
    );
    assert!(least.status.success(), "{}", text(&least));
    let faults = String::from_utf8_lossy(&least.stdout)
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(
        faults.len() == 1 && faults[0].starts_with("crash cpuid nth="),
        "{}",
        text(&least)
    );
}

#[test]
fn a_boot_with_a_fault_goes_on_and_its_log_says_that_the_fault_was_injected() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("inject-{}", std::process::id());
    let fault = "crash cpuid/cpuid nth=1";
    let booted = atoll(
        &[
            "boot",
            "hello",
            "--inject",
            fault,
            "--name",
            &name,
            "--timeout",
            "100",
        ],
        dir.path(),
    );
    assert!(booted.status.success(), "{}", text(&booted));
    assert!(text(&booted).contains("Hello from inside Atoll"));
    let log = atoll::run::instance::directory(&name)
        .unwrap()
        .join("kernel.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("inject: injected entry=0") && log.contains("inject: recovered"),
        "{log}"
    );
}

#[test]
fn the_kernel_that_runs_guests_contains_no_fault_injection() {
    use atoll::bare::{Toolchain, build};
    let (workspace, toolchain) = (
        atoll::place::workspace().unwrap(),
        Toolchain::find(Default::default()).unwrap(),
    );
    let contains = |kernel: &Path, what: &[u8]| {
        fs::read(kernel)
            .unwrap()
            .windows(what.len())
            .any(|window| window == what)
    };
    let plain = build::system(&workspace, &toolchain).unwrap().kernel();
    let injecting = build::injecting_kernel(&workspace, &toolchain)
        .unwrap()
        .kernel();
    for trace in [&b"ATOLL_PLAN"[..], b"inject: "] {
        assert!(
            contains(&injecting, trace),
            "the test looks for what is not even in the instrumented kernel"
        );
        assert!(
            !contains(&plain, trace),
            "{}",
            String::from_utf8_lossy(trace)
        );
    }
}
