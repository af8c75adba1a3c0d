//! Servers of one's own: what `atoll new-server` makes passes its test on this computer, builds as an image, and boots. And the document
//! shows exactly what is made.
#![forbid(unsafe_code)]

use std::path::Path;

use atoll::place;
use atoll::template::Wanted;
use atoll::testing::{Boot, Booted};

mod made;
mod own;

const SHOWN: &str = include_str!("../../docs/writing-a-server.md");

fn wanted(role: &str) -> Wanted<'_> {
    Wanted {
        role,
        name: "mine",
        around: None,
    }
}

fn hello(role: &str, dir: &Path) -> Booted {
    Boot::guest("hello").swap(role, dir).run().unwrap()
}

/// A small guest runs on it to its end.
fn boots(role: &str) {
    let made = own::make(role, &[]);
    let booted = hello(role, &made.dir);
    assert_eq!(booted.status, 0, "{}\n{}", booted.console, booted.log);
    assert!(
        booted.console.contains("Hello from inside Atoll"),
        "{}",
        booted.console
    );
    assert!(!booted.log.contains("broke a rule"), "{}", booted.log);
}

#[test]
fn a_cpuid_server_says_what_linux_is_told_of_its_cpu() {
    let made = own::make("cpuid", &[]);
    let booted = hello("cpuid", &made.dir);
    assert!(
        booted.console.contains("signs as \"............\""),
        "it has no hypervisor's leaf: {}",
        booted.console
    );
    let booted = Boot::guest("linux")
        .swap("cpuid", &made.dir)
        .exec("grep -m1 flags /proc/cpuinfo")
        .run()
        .unwrap();
    assert_eq!(booted.status, 0, "{}\n{}", booted.console, booted.log);
    let flags: Vec<&str> = booted.console.split_whitespace().collect();
    assert!(
        ["lm", "nx", "sse2", "cx16", "hypervisor"]
            .iter()
            .all(|flag| flags.contains(flag)),
        "{flags:?}"
    );
    assert!(
        !["avx", "popcnt", "xsave", "svm"]
            .iter()
            .any(|flag| flags.contains(flag)),
        "{flags:?}"
    );
}

#[test]
fn an_msr_server_boots() {
    boots("msr");
}

#[test]
fn an_mmu_server_maps_all_that_a_guest_touches() {
    boots("mmu");
}

#[test]
fn a_power_server_switches_linux_off() {
    let made = own::make("power", &[]);
    let booted = Boot::guest("linux")
        .swap("power", &made.dir)
        .exec("grep -c . /proc/interrupts > /dev/null; exit 7")
        .run()
        .unwrap();
    assert_eq!(booted.status, 7, "{}\n{}", booted.console, booted.log);
    assert!(
        booted
            .log
            .contains("machine stopped: the guest switched the power off"),
        "{}",
        booted.log
    );
}

#[test]
fn a_server_around_one_of_atolls_boots() {
    let made = own::make("serial", &["--around", "uart-ring"]);
    let booted = hello("serial", &made.dir);
    assert_eq!(booted.status, 0, "{}\n{}", booted.console, booted.log);
    assert!(
        booted.console.contains("Hello from inside Atoll"),
        "{}",
        booted.console
    );
    assert!(
        booted.log.contains("uart: 64 requests and"),
        "it counts what goes through it: {}",
        booted.log
    );
}

#[test]
fn the_document_shows_the_cpuid_server_that_is_made_and_it_has_at_most_thirty_lines() {
    let shown = SHOWN
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let made = atoll::template::make(
        &place::workspace().unwrap(),
        &wanted("cpuid"),
        &dir.path().join("made"),
    )
    .unwrap();
    assert_eq!(
        shown,
        std::fs::read_to_string(made.join("src/lib.rs")).unwrap()
    );
    assert!(
        shown.lines().count() <= 30,
        "{} lines",
        shown.lines().count()
    );
}

#[test]
fn a_role_that_the_machine_does_not_have_cannot_be_swapped() {
    let error = Boot::guest("hello")
        .swap("disk", Path::new("."))
        .run()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("--swap disk: there is no such server or role (there are: cpuid, msr"),
        "{error}"
    );
}

#[test]
fn a_crate_of_another_role_is_refused_by_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let made = atoll::template::make(
        &place::workspace().unwrap(),
        &wanted("msr"),
        &dir.path().join("made"),
    )
    .unwrap();
    let error = Boot::guest("hello")
        .swap("cpuid", &made)
        .run()
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "{}: is a server of the role 'msr', not 'cpuid'",
            made.display()
        )
    );
}

#[test]
fn a_directory_without_a_crate_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let error = Boot::guest("hello")
        .swap("cpuid", dir.path())
        .run()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Cargo.toml: No such file") && !error.contains('\n'),
        "{error}"
    );
}
