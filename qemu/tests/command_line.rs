//! Mistakes on the command line, and files that are not what they should be, are told in one line before anything starts.
#![forbid(unsafe_code)]

use std::process::{Command, Output};

fn atoll(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(arguments)
        .output()
        .unwrap()
}

/// The one line of an error with status 125.
fn error_of(arguments: &[&str]) -> String {
    let output = atoll(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{text}");
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("error:"))
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

#[test]
fn a_missing_kernel_is_named() {
    assert!(
        error_of(&["boot", "--kernel", "/nowhere/bzImage"])
            .contains("/nowhere/bzImage: No such file")
    );
}

#[test]
fn a_file_that_is_no_kernel_is_named() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let error = error_of(&["boot", "--kernel", file]);
    assert!(
        error.contains("Cargo.toml: is neither a bzImage"),
        "{error}"
    );
}

#[test]
fn a_missing_manifest_is_named() {
    assert!(
        error_of(&["check", "/nowhere/machine.toml"])
            .contains("/nowhere/machine.toml: No such file")
    );
    assert!(
        error_of(&["boot", "--machine", "/nowhere/machine.toml"])
            .contains("/nowhere/machine.toml: No such file")
    );
}

#[test]
fn a_guest_that_does_not_exist_is_told_with_those_that_do() {
    let error = error_of(&["boot", "goodbye"]);
    assert!(
        error.contains("'goodbye'") && error.contains("hello"),
        "{error}"
    );
}

#[test]
fn memory_that_makes_no_sense_is_refused() {
    assert!(error_of(&["boot", "--memory", "17M"]).contains("--memory 17M"));
}

#[test]
fn a_name_with_a_slash_is_refused() {
    assert!(error_of(&["ps", "--name", "a/b"]).contains("--name 'a/b'"));
}

#[test]
fn a_machine_that_does_not_run_cannot_be_asked() {
    assert!(
        error_of(&["ping", "--name", "nobody-here"])
            .contains("no machine named 'nobody-here' is running")
    );
}

#[test]
fn a_closed_output_is_one_line_and_the_status_of_the_tools_own_errors() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/machines/linux.toml");
    let all: [&[&str]; 5] = [
        &["doctor"],
        &["check", manifest],
        &["completions", "bash"],
        &["help"],
        &["help", "control"],
    ];
    for arguments in all {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(arguments)
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{arguments:?}: {said}");
        assert!(said.contains("standard output: No space left"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn an_error_of_a_command_with_json_is_json() {
    let output = atoll(&["ps", "--json", "--name", "nobody-here"]);
    assert_eq!(output.status.code(), Some(125));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&error["schema"], &error["error"]),
        (
            &1.into(),
            &"no machine named 'nobody-here' is running".into()
        )
    );
}

#[test]
fn what_is_wrong_is_said_with_what_was_expected() {
    let expected = |arguments: &[&str], words: &str| {
        let output = atoll(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(words), "{said}");
    };
    let run = ["campaign", "run", "plan.toml", "--shard", "5/4"];
    expected(&run, "expected I/N, the I-th of N parts, for example 2/4");
    expected(
        &["boot", "--swap", "cpuid"],
        "expected ROLE=DIR, for example",
    );
    for (size, what) in [
        ("1.5G", "expected a whole number of bytes with K, M or G"),
        ("1T", "expected a whole number of bytes with K, M or G"),
        ("16M", "expected at least 32M"),
        ("33M", "expected a multiple of 2M"),
    ] {
        expected(&["boot", "--memory", size], what);
    }
    expected(
        &["boot", "--add", "a:"],
        "expected FILE[:PATH], for example",
    );
    expected(&["help", "frobnication"], "the documents are: control");
}

#[test]
fn a_host_without_apt_is_told_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["boot", "linux", "--name", "without-apt"])
        .env("PATH", empty.path())
        .env("ATOLL_CACHE", empty.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{said}");
    for word in [
        "cloud kernel is not here",
        "Fedora",
        "Arch",
        "Nix",
        "fetch --from",
    ] {
        assert!(said.contains(word), "no '{word}' in: {said}");
    }
}

#[test]
fn documents_are_told_without_the_clone() {
    let text = String::from_utf8(atoll(&["help", "control"]).stdout).unwrap();
    assert!(text.contains("Looking at a running machine"));
    let text = String::from_utf8(atoll(&["help"]).stdout).unwrap();
    assert!(text.contains("writing-a-server") && text.contains("doctor"));
    let text = String::from_utf8(atoll(&["help", "swap"]).stdout).unwrap();
    assert!(text.contains("--force"));
}

#[test]
fn an_unknown_option_has_the_status_of_the_tools_own_errors() {
    assert_eq!(atoll(&["boot", "--bot"]).status.code(), Some(125));
}

#[test]
fn help_tells_a_stranger_how_to_begin() {
    let output = atoll(&["--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in [
        "boot",
        "doctor",
        "--exec",
        "Exit status",
        "Ctrl-A x",
        "atoll boot hello",
    ] {
        assert!(text.contains(word), "no '{word}' in:\n{text}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(!atoll(&["completions", shell]).stdout.is_empty());
    }
}

#[test]
fn the_manifest_of_the_tree_passes_its_own_check() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/machines/linux.toml");
    let output = atoll(&["check", file]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
