//! A server that crashes over a message again and again falls back to the image that its manifest names, and Linux goes on.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use atoll::place;
use atoll::template::{self, Wanted};
use atoll::testing::{Boot, Booted};
use tempfile::TempDir;

mod asker;

/// The crate.
const CPUID: Wanted<'static> = Wanted {
    role: "cpuid",
    name: "my-cpuid",
    around: None,
};
/// A leaf that Linux does not ask for, and over which the server crashes.
const FATAL: u32 = 0x4000_0077;
/// The request over which a server around another crashes; Linux has begun by then, and is not done.
const FATAL_REQUEST: u32 = 100;
/// The manifest's line after which it is said what follows the restarts.
const PLACE: &str = "image = \"cpuid\"\n";

/// A crate of the cpuid role that crashes over [`FATAL`], in which `from` is replaced by `to`.
fn make(from: &str, to: &str) -> (PathBuf, TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = template::make(
        &place::workspace().unwrap(),
        &CPUID,
        &temporary.path().join("made"),
    )
    .unwrap();
    let path = dir.join("src/lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    let last = "            _ => Leaf::default(),\n";
    assert!(text.contains(last) && text.contains(from), "{text}");
    let fatal = format!("            {FATAL} => panic!(\"the fatal leaf\"),\n{last}");
    fs::write(path, text.replace(last, &fatal).replace(from, to)).unwrap();
    (dir, temporary)
}

/// Linux asks who its CPU is, asks what is fatal, and asks again.
fn boots(dir: &Path) -> Booted {
    let (who, fatal) = (
        asker::make(0x4000_0000, "/tmp/who"),
        asker::make(FATAL, "/tmp/fatal"),
    );
    let restart = "restart = { attempts = 2, then = { image = \"cpuid\" } }\n";
    Boot::guest("linux")
        .change(PLACE, &format!("{PLACE}{restart}"))
        .swap("cpuid", dir)
        .exec(&format!(
            "{who}; {fatal}; /tmp/who; /tmp/fatal; /tmp/who; echo done"
        ))
        .run()
        .unwrap()
}

#[track_caller]
fn assert_fell_back(booted: &Booted, how: &str) {
    assert_eq!(booted.status, 0, "{}\n{}", booted.console, booted.log);
    let said: Vec<&str> = booted.console.lines().collect();
    let nothing = "\0".repeat(12);
    assert_eq!(
        (said[0], said[2], said[3]),
        (&nothing[..], "KVMKVMKVM\0\0\0", "done"),
        "{said:?}"
    );
    let line =
        format!("restarts do not help server `cpuid`: it falls back to image `cpuid`, {how}");
    assert!(booted.log.contains(&line), "{}", booted.log);
}

#[test]
fn the_alternative_goes_on_with_the_state_of_a_server_that_crashes_over_one_message() {
    let (dir, _temporary) = make("", "");
    let booted = boots(&dir);
    assert_fell_back(&booted, "with its state");
    assert_eq!(
        booted.log.matches("broke a rule").count(),
        3,
        "once, and after each of two restarts: {}",
        booted.log
    );
}

#[test]
fn the_alternative_begins_anew_if_that_server_crashes_over_its_export_too() {
    let export = "fn export(_: &()) -> Option<<Cpuid as atoll_sdk::protocol::role::Role>::State> {
        panic!(\"it does not say\")
    }
    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        _: <Cpuid as atoll_sdk::protocol::role::Role>::State,
        _: bool,
    ) -> Result<(), Refuse> {
        Self::start(machine, setup)
    }";
    let (dir, _temporary) = make("atoll_sdk::forgetful!();", export);
    assert_fell_back(&boots(&dir), "with a reset state");
}

/// Linux works under a server around `image` that crashes over one request among many, in the place of which `image` comes then.
fn works(role: &str, image: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        role,
        name: "my-server",
        around: Some(image),
    };
    let dir = template::make(
        &place::workspace().unwrap(),
        &wanted,
        &temporary.path().join("made"),
    )
    .unwrap();
    let path = dir.join("src/lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    let log = "        if vault.requests.is_power_of_two() {\n";
    assert!(text.contains(log), "{text}");
    // Not committed, so the next try ends in the same way.
    fs::write(
        &path,
        text.replace(
            log,
            &format!("        assert_ne!(vault.requests, {FATAL_REQUEST});\n{log}"),
        ),
    )
    .unwrap();
    let place = format!("image = \"{image}\"\n");
    let restart = format!("restart = {{ attempts = 2, then = {{ image = \"{image}\" }} }}\n");
    let booted = Boot::guest("linux")
        .change(&place, &format!("{place}{restart}"))
        .swap(role, &dir)
        .exec("for i in 1 2 3 4 5; do head -c 1000000 /dev/urandom | wc -c; sleep 0.1; done")
        .run()
        .unwrap();
    assert_eq!(
        (booted.status, booted.console.as_str()),
        (0, "1000000\n".repeat(5).as_str()),
        "{}",
        booted.log
    );
    assert_eq!(
        booted.log.matches("broke a rule").count(),
        3,
        "{}",
        booted.log
    );
    assert!(
        booted
            .log
            .contains(&format!("it falls back to image `{image}`, with its state")),
        "{}",
        booted.log
    );
}

#[test]
fn linux_goes_on_when_the_alternative_takes_its_interrupt_controllers_over() {
    works("irqchip", "irqchip");
}

#[test]
fn linux_goes_on_when_the_alternative_maps_its_memory() {
    works("mmu", "mmu-npt");
}

#[test]
fn an_alternative_of_another_role_is_told_at_its_line_by_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.toml");
    let text = atoll_manifest::LINUX.replace(
        PLACE,
        &format!("{PLACE}restart = {{ then = {{ image = \"msr\" }} }}\n"),
    );
    fs::write(&path, text).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .arg("check")
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    let line = format!(
        "{}:12: server 'cpuid': image 'msr' is a server of the role 'msr', not 'cpuid'",
        path.display()
    );
    assert_eq!(
        (
            checked.status.code(),
            said.lines().last().unwrap().ends_with(&line)
        ),
        (Some(125), true),
        "{said}"
    );
}
