//! QEMU is confined: by its own sandbox where it has one, by limits everywhere. Seen at the process of a running machine.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use atoll::emulator::Emulator;
use atoll::emulator::confine::SANDBOX;

/// A QEMU that knows no sandbox, and puts its arguments into the file `arguments` beside it.
const WITHOUT: &str = r#"#!/bin/sh
for word in "$@"; do
    if [ "$word" = -sandbox ]; then
        echo "-sandbox support is not enabled in this QEMU binary" >&2
        exit 1
    fi
done
echo "$@" >> "$(dirname "$0")/arguments"
exec "#;

/// The process that a tool has started.
fn child_of(tool: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{tool}/task"))
        .unwrap()
        .map(|task| task.unwrap().path().join("children"));
    let children: String = tasks
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    children
        .split_whitespace()
        .next()
        .expect("it has started QEMU")
        .to_owned()
}

/// The line of a process' file that begins like this.
fn line(process: &str, file: &str, begins: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
    text.lines()
        .find(|line| line.starts_with(begins))
        .unwrap_or_else(|| panic!("no {begins}:\n{text}"))
        .to_owned()
}

#[test]
fn a_machine_runs_in_the_sandbox_within_limits_and_ends_with_its_tool() {
    let (name, dir) = (
        format!("confined-{}", std::process::id()),
        tempfile::tempdir().unwrap(),
    );
    let console = dir.path().join("console");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args([
            "boot",
            "--name",
            &name,
            "--exec",
            "while true; do echo here; sleep 0.2; done",
        ])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&console).unwrap())
        .spawn()
        .unwrap();
    while !fs::read_to_string(&console).unwrap().contains("here") {
        assert!(tool.try_wait().unwrap().is_none(), "the machine has ended");
        sleep(Duration::from_millis(50));
    }
    let process = child_of(tool.id());
    let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
    if Emulator::find(true).unwrap().sandbox {
        assert!(command.contains(&SANDBOX.join("\0")), "{command}");
        assert_eq!(
            line(&process, "status", "Seccomp:")
                .split_whitespace()
                .last(),
            Some("2"),
            "system calls are filtered"
        );
    } else {
        assert!(!command.contains("-sandbox"), "{command}");
    }
    let limit = |name: &str| {
        let line = line(&process, "limits", name);
        line.strip_prefix(name)
            .unwrap()
            .split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    for name in ["Max file size", "Max address space"] {
        let [soft, hard] = limit(name).try_into().unwrap();
        let bytes: u64 = soft.parse().unwrap_or_else(|_| panic!("{name}: {soft}"));
        assert!(
            soft == hard && bytes > 4 << 30 && bytes < 32 << 30,
            "{name}: {soft} {hard}"
        );
    }
    // QEMU ends with the tool, even if that cannot see to it any more.
    tool.kill().unwrap();
    tool.wait().unwrap();
    let runs = || fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty());
    for _ in 0..6_000 {
        if !runs() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("QEMU has outlived its tool");
}

#[test]
fn a_qemu_without_a_sandbox_runs_all_the_same_and_doctor_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("qemu");
    let real = Emulator::find(true).unwrap().program;
    fs::write(&program, format!("{WITHOUT}{} \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let atoll = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(arguments)
            .env("ATOLL_QEMU", &program)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    let name = format!("unconfined-{}", std::process::id());
    atoll(&["boot", "hello", "--name", &name]);
    let arguments = fs::read_to_string(Path::new(dir.path()).join("arguments")).unwrap();
    assert!(
        arguments.contains("-accel tcg") && !arguments.contains("sandbox"),
        "{arguments}"
    );
    let told = atoll(&["doctor"]);
    assert!(
        told.lines()
            .any(|line| line.contains("sandbox") && line.contains("none")),
        "{told}"
    );
}
