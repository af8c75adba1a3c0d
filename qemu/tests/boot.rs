//! What a boot takes in, gives out and says at its end, as its users see it.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use atoll::bare::target::Permission;
use atoll::bare::{self, Toolchain, build};
use atoll::place;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSegment};
use running::Running;
use serde_json::Value;

#[allow(dead_code, reason = "not every test needs all that it offers")]
mod running;

fn atoll(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A machine's name that no other test has.
fn named(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn files_and_directories_go_into_the_guest_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(path("data/deep")).unwrap();
    fs::write(path("data/deep/one"), "first\n").unwrap();
    let noise: Vec<u8> = (0..50_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(path("data/noise"), &noise).unwrap();
    fs::write(path("single"), "second\n").unwrap();
    let boot = |more: &[&str]| {
        let name = named("files");
        let mut command = atoll(&["boot", "--name", &name]);
        command
            .args(["--add", &path("data")])
            .args(["--add", &format!("{}:/etc/two", path("single"))])
            .args(more)
            .output()
            .unwrap()
    };
    let command =
        "cat data/deep/one /etc/two; mkdir out; cp data/noise out/; wc -c < data/noise > out/size";
    let get = format!("out:{}", path("back"));
    let output = boot(&["--exec", command, "--get", &get]);
    assert_eq!(succeeded(&output), "first\nsecond\n");
    assert_eq!(fs::read(path("back/noise")).unwrap(), noise);
    assert_eq!(fs::read_to_string(path("back/size")).unwrap(), "50000\n");

    let again = boot(&["--exec", "true", "--get", &get]);
    assert_eq!(again.status.code(), Some(125));
    assert!(text(&again.stderr).contains("back: is there already"));
}

#[test]
fn the_end_of_what_is_piped_in_ends_the_guest() {
    let name = named("piped");
    let mut boot = atoll(&["boot", "--name", &name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The last line has no end, and what reads within the guest gets one, too.
    let typed = b"uname -m\ncat > /tmp/copy";
    boot.stdin.take().unwrap().write_all(typed).unwrap();
    let output = boot.wait_with_output().unwrap();
    assert!(succeeded(&output).contains("x86_64"));
}

#[test]
fn a_boot_with_nothing_to_read_ends_by_itself() {
    let name = named("nothing");
    let output = atoll(&["boot", "--name", &name]).output().unwrap();
    assert!(succeeded(&output).contains("This is Linux"));
}

#[test]
fn a_short_guest_has_its_statistics_and_nobody_asked_for_them_meanwhile() {
    for icount in [None, Some("--icount")] {
        let name = named("short");
        let output = atoll(&["boot", "hello", "--stats", "--name", &name])
            .args(icount)
            .output()
            .unwrap();
        succeeded(&output);
        let said = text(&output.stderr);
        let control = said
            .lines()
            .find(|line| line.contains(" control "))
            .unwrap_or_else(|| panic!("no statistics: {said}"));
        let count: u64 = control.split_whitespace().nth(7).unwrap().parse().unwrap();
        assert!(count < 10, "{control}");
    }
}

#[test]
fn a_boot_that_is_waited_for_in_vain_says_where_the_guest_is() {
    let name = named("vain");
    let output = atoll(&["boot", "--name", &name, "--timeout", "20"])
        .args(["--exec", "sleep 100000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(124));
    let said = text(&output.stderr);
    assert!(
        said.contains("atoll: the guest ") && said.contains("rip 0x") && said.contains(" ring "),
        "{said}"
    );
}

#[test]
fn a_boot_tells_what_its_faults_hit_and_leaves_its_log_and_its_dumps() {
    let name = named("hits");
    let output = atoll(&["boot", "--name", &name])
        .args(["--inject", "crash uart/port-write nth=300"])
        .args(["--inject", "crash uart/port-write nth=99999999"])
        .args(["--exec", "echo done"])
        .output()
        .unwrap();
    assert_eq!(succeeded(&output), "done\n");
    let said = text(&output.stderr);
    assert!(said.contains("nth=300': it hit 1 message"), "{said}");
    assert!(said.contains("nth=99999999': it hit nothing"), "{said}");

    let after = |arguments: &[&str]| {
        let output = atoll(arguments).args(["--name", &name]).output().unwrap();
        let said = text(&output.stderr);
        assert!(said.contains("this is of the last one"), "{said}");
        output
    };
    let dump: Value =
        serde_json::from_str(&succeeded(&after(&["dump", "serial", "--json"]))).unwrap();
    assert_eq!(
        (&dump["schema"], &dump["server"], &dump["origin"]),
        (&1.into(), &"uart".into(), &"injected".into())
    );
    let log = succeeded(&after(&["log"]));
    assert!(
        log.contains("machine runs") && !log.contains("] total: "),
        "{log}"
    );
    let never = after(&["dump", "msr"]);
    assert_eq!(never.status.code(), Some(125));
    assert!(text(&never.stderr).contains("'msr' has not been faulted"));
}

#[test]
fn nothing_that_is_loaded_names_a_directory_of_who_has_built_it() {
    let workspace = place::workspace().unwrap();
    let toolchain = Toolchain::find(Permission::default()).unwrap();
    let built = bare::system(&workspace, &toolchain).unwrap();
    let injecting = build::injecting_kernel(&workspace, &toolchain).unwrap();
    let packages =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| std::env::var("HOME").unwrap() + "/.cargo");
    let programs = [built.kernel(), injecting.kernel()];
    let servers = ["supervisor", "control", "mmu-npt"].map(|name| built.program(name));
    for path in programs.iter().chain(&servers) {
        let bytes = fs::read(path).unwrap();
        let file = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
        let loaded: Vec<&[u8]> = file
            .segments()
            .map(|segment| segment.data().unwrap())
            .collect();
        assert!(!loaded.is_empty());
        for place in [&packages[..], &workspace.to_string_lossy()] {
            assert!(
                !loaded.iter().any(|bytes| bytes
                    .windows(place.len())
                    .any(|window| window == place.as_bytes())),
                "{} has '{place}' in what is loaded",
                path.display()
            );
        }
    }
}

#[test]
fn a_debugger_finds_qemus_stub_where_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let stub = dir.path().join("gdb");
    let machine = Running::start(
        "stub",
        &[
            "--gdb",
            &stub.display().to_string(),
            "--exec",
            "while true; do echo busy; sleep 0.1; done",
        ],
    );
    machine.wait_until("it runs", || machine.console().contains("busy"));
    let mut debugger = UnixStream::connect(&stub).unwrap();
    // It says by which signal the machine has stopped, since somebody has come to look.
    debugger.write_all(b"$?#3f").unwrap();
    let mut answer = [0; 8];
    debugger.read_exact(&mut answer).unwrap();
    let answer = text(&answer);
    assert!(answer.contains("$T") || answer.contains("$S"), "{answer}");
}
