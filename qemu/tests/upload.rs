//! A server of one's own is put into a running Linux: its crate is made outside of the workspace, built, uploaded and swapped in, while the
//! supervisor and the control server crash in the middle of the upload; it is restarted from what was uploaded; and it is swapped away.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use running::Running;

mod asker;
mod running;

/// Crashes within the first upload.
const FAULTS: [&str; 4] = [
    "--inject",
    "crash supervisor/request nth=60",
    "--inject",
    "crash control/drained nth=3000",
];
/// How the machine's own server signs, and how the one that the test makes does.
const SIGNATURES: [&str; 2] = ["KVMKVMKVM", "Researchers!"];

/// What the guest does until it is ended: asks its CPU who it is, again and again.
fn workload() -> String {
    format!(
        "{}; while true; do /tmp/who; sleep 0.1; done",
        asker::make(0x4000_0000, "/tmp/who")
    )
}

/// Waits until the guest is told this signature three times from now on.
fn wait_for(machine: &Running, signature: &str) {
    let before = machine.console().len();
    machine.wait_until(signature, || {
        machine.console()[before..].matches(signature).count() >= 3
    });
}

/// A crate of the cpuid role whose server signs in its own way.
fn make(dir: &Path) {
    let made = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["new-server", "cpuid", "my-cpuid", "--path"])
        .arg(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let path = dir.join("src/lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    let [b, c, d] = [0, 4, 8]
        .map(|at| u32::from_le_bytes(SIGNATURES[1].as_bytes()[at..at + 4].try_into().unwrap()));
    let leaf = format!(
        "            0x4000_0000 => Leaf {{ eax: 0x4000_0000, ebx: {b}, ecx: {c}, edx: {d} }},\n"
    );
    let last = "            _ => Leaf::default(),\n";
    assert!(text.contains(last), "{text}");
    fs::write(path, text.replace(last, &(leaf + last))).unwrap();
}

#[test]
fn a_crate_from_outside_is_uploaded_into_a_running_linux_restarted_there_and_swapped_away() {
    let machine = Running::start("upload", &[&["--exec", &workload()], &FAULTS[..]].concat());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made");
    make(&dir);
    let mine = dir.to_str().unwrap();
    machine.wait_until("it answers", || machine.ask(&["ping"]).status.success());
    wait_for(&machine, SIGNATURES[0]);

    let refused = machine.error(&["swap", "msr", mine]);
    assert!(
        refused.ends_with("is a server of the role 'cpuid', not 'msr'"),
        "{refused}"
    );
    assert!(
        machine
            .error(&["swap", "cpuid", "my-cpuid"])
            .contains("./my-server"),
        "a directory is written with a '/'"
    );
    assert_eq!(
        (machine.restarts("supervisor"), machine.restarts("cpuid")),
        (0, 0),
        "nothing was stopped"
    );
    assert_eq!(machine.image("cpuid"), "cpuid");

    let refused = machine.error(&["swap", "cpuid", mine]);
    let why = "the guest relies on all that it has been shown, and the successor does not have that; --force";
    assert!(
        refused.contains(why),
        "it takes something away from the guest: {refused}"
    );
    assert_eq!(
        (machine.restarts("supervisor"), machine.restarts("control")),
        (1, 1),
        "they crashed in the middle of the upload"
    );
    wait_for(&machine, SIGNATURES[0]);

    let swapped = machine.json(&["swap", "cpuid", mine, "--force"]);
    assert_eq!(
        (&swapped["server"], &swapped["image"]),
        (&"cpuid".into(), &mine.into())
    );
    assert!(
        swapped["held_ns"]
            .as_u64()
            .is_some_and(|held| held > 0 && held < 500_000_000),
        "{swapped}"
    );
    wait_for(&machine, SIGNATURES[1]);

    assert_eq!(
        (machine.image("cpuid"), machine.restarts("cpuid")),
        ("my-cpuid".into(), 0),
        "a swap is no restart"
    );
    machine.text(&["kill", "cpuid"]);
    wait_for(&machine, SIGNATURES[1]);
    assert_eq!(
        (machine.image("cpuid"), machine.restarts("cpuid")),
        ("my-cpuid".into(), 1),
        "from what was uploaded"
    );
    // Once more, beside the one that is in use.
    machine.text(&["swap", "cpuid", mine, "--force"]);
    wait_for(&machine, SIGNATURES[1]);

    assert!(
        machine
            .text(&["swap", "cpuid", "cpuid"])
            .contains("has taken its place; the guest was held for")
    );
    wait_for(&machine, SIGNATURES[0]);
    assert_eq!(
        (machine.image("cpuid"), machine.restarts("cpuid")),
        ("cpuid".into(), 1),
        "the restart is not forgotten"
    );
    let told: Vec<String> = machine.console().lines().map(str::to_owned).collect();
    let known = |line: &str| SIGNATURES.contains(&line.trim_matches('\0')) || line.is_empty();
    let whole = &told[..told.len() - 1];
    assert!(
        whole.iter().all(|line| known(line)),
        "{:?}",
        whole.iter().find(|line| !known(line))
    );
}
