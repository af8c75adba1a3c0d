//! `atoll bench`: what a program that reads its JSON relies on.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The probes of the JSON file, in its order.
const PROBES: [&str; 15] = [
    "cpuid",
    "rdmsr",
    "wrmsr",
    "out",
    "in",
    "pic_in",
    "mmio_load",
    "mmio_store",
    "mmio_load_cold",
    "mmio_store_cold",
    "vmmcall",
    "window",
    "demand_map",
    "line",
    "mail",
];

/// The JSON of a short run: exits on Atoll only.
fn measure(file: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["bench", "--quick", "--json"])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read_to_string(file).unwrap()
}

#[test]
fn the_json_names_each_probe_with_its_figure_and_two_runs_agree_in_every_digit() {
    let dir = tempfile::tempdir().unwrap();
    let json = measure(&dir.path().join("first.json"));
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("{\"probes\":[", "]}"));
    let names: Vec<&str> = lines[1..lines.len() - 1]
        .iter()
        .map(|line| {
            let line = line.trim_end_matches(',');
            let (name, figures) = line
                .strip_prefix("{\"name\":\"")
                .and_then(|rest| rest.split_once("\","))
                .unwrap();
            let atoll = figures
                .strip_prefix("\"atoll\":")
                .and_then(|rest| rest.strip_suffix(",\"kvm\":null}"))
                .unwrap();
            assert!(
                atoll.parse::<u64>().unwrap() > 100,
                "{line}: no exit takes so little"
            );
            name
        })
        .collect();
    assert_eq!(names, PROBES);
    assert_eq!(measure(&dir.path().join("second.json")), json);
}
