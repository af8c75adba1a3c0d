//! A server of one's own is put into a running Linux: its crate is made outside of the workspace, built, uploaded and swapped in, while the
//! supervisor and the control server crash in the middle of the upload; it is restarted from what was uploaded; and it is swapped away.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

mod asker;

/// Crashes within the first upload.
const FAULTS: [&str; 4] = ["--inject", "crash supervisor/request nth=60", "--inject", "crash control/drained nth=3000"];
/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How the machine's own server signs, and how the one that the test makes does.
const SIGNATURES: [&str; 2] = ["KVMKVMKVM", "Researchers!"];

/// What the guest does until it is ended: asks its CPU who it is, again and again.
fn workload() -> String {
    format!("{}; while true; do /tmp/who; sleep 0.1; done", asker::make(0x4000_0000, "/tmp/who"))
}

/// A machine that runs until this is dropped.
struct Running {
    name: String,
    tool: Child,
    dir: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.tool.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.tool.wait();
    }
}

impl Running {
    fn start() -> Self {
        let (name, dir) = (format!("upload-{}", std::process::id()), tempfile::tempdir().unwrap());
        let console = File::create(dir.path().join("console")).unwrap();
        let tool = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(["boot", "--name", &name, "--exec", &workload()])
            .args(FAULTS)
            .stdin(Stdio::null())
            .stdout(console)
            .spawn()
            .unwrap();
        Self { name, tool, dir }
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("console")).unwrap()).into_owned()
    }

    /// Waits until the guest is told this signature three times from now on.
    fn wait_for(&self, signature: &str) {
        let (before, latest) = (self.console().len(), Instant::now() + PATIENCE);
        while self.console()[before..].matches(signature).count() < 3 {
            assert!(Instant::now() < latest, "no {signature}: {}\n{}", self.console(), self.text(&["log"]));
            sleep(Duration::from_millis(100));
        }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_atoll")).args(arguments).args(["--name", &self.name]).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The last line of an error; nothing is printed beside.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(125), &b""[..]));
        String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
    }

    fn restarts(&self, name: &str) -> u64 {
        let listing: Value = serde_json::from_str(&self.text(&["ps", "--json"])).unwrap();
        let servers = listing["servers"].as_array().unwrap();
        servers.iter().find(|server| server["server"] == name).unwrap()["restarts"].as_u64().unwrap()
    }
}

/// A crate of the cpuid role whose server signs in its own way.
fn make(dir: &Path) {
    let made =
        Command::new(env!("CARGO_BIN_EXE_atoll")).args(["new-server", "cpuid", "my-cpuid", "--path"]).arg(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = dir.join("src/lib.rs");
    let text = fs::read_to_string(&path).unwrap();
    let [b, c, d] = [0, 4, 8].map(|at| u32::from_le_bytes(SIGNATURES[1].as_bytes()[at..at + 4].try_into().unwrap()));
    let leaf = format!("            0x4000_0000 => Leaf {{ eax: 0x4000_0000, ebx: {b}, ecx: {c}, edx: {d} }},\n");
    let last = "            _ => Leaf::default(),\n";
    assert!(text.contains(last), "{text}");
    fs::write(path, text.replace(last, &(leaf + last))).unwrap();
}

#[test]
fn a_crate_from_outside_is_uploaded_into_a_running_linux_restarted_there_and_swapped_away() {
    let machine = Running::start();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made");
    make(&dir);
    let mine = dir.to_str().unwrap();
    let latest = Instant::now() + PATIENCE;
    while !machine.ask(&["ping"]).status.success() {
        assert!(Instant::now() < latest, "it does not start");
        sleep(Duration::from_millis(200));
    }
    machine.wait_for(SIGNATURES[0]);

    let refused = machine.error(&["swap", "msr", mine]);
    assert!(refused.ends_with("is a server of the role 'cpuid', not 'msr'"), "{refused}");
    assert!(machine.error(&["swap", "cpuid", "my-cpuid"]).contains("./my-server"), "a directory is written with a '/'");
    assert_eq!((machine.restarts("supervisor"), machine.restarts("cpuid")), (0, 0), "nothing was stopped");

    let refused = machine.error(&["swap", "cpuid", mine]);
    assert!(refused.contains("the successor failed or refused"), "it takes something away from the guest: {refused}");
    assert_eq!((machine.restarts("supervisor"), machine.restarts("control")), (1, 1), "they crashed in the middle of the upload");
    machine.wait_for(SIGNATURES[0]);

    let swapped: Value = serde_json::from_str(&machine.text(&["swap", "cpuid", mine, "--force", "--json"])).unwrap();
    assert_eq!((&swapped["server"], &swapped["image"]), (&"cpuid".into(), &mine.into()));
    assert!(swapped["held_ns"].as_u64().is_some_and(|held| held > 0 && held < 500_000_000), "{swapped}");
    machine.wait_for(SIGNATURES[1]);

    let before = machine.restarts("cpuid");
    machine.text(&["kill", "cpuid"]);
    machine.wait_for(SIGNATURES[1]);
    assert_eq!(machine.restarts("cpuid"), before + 1, "it was restarted from what was uploaded");
    // Once more, beside the one that is in use.
    machine.text(&["swap", "cpuid", mine, "--force"]);
    machine.wait_for(SIGNATURES[1]);

    assert!(machine.text(&["swap", "cpuid", "cpuid"]).contains("has taken its place; the guest was held for"));
    machine.wait_for(SIGNATURES[0]);
    let told: Vec<String> = machine.console().lines().map(str::to_owned).collect();
    let known = |line: &str| SIGNATURES.contains(&line.trim_matches('\0')) || line.is_empty();
    let whole = &told[..told.len() - 1];
    assert!(whole.iter().all(|line| known(line)), "{:?}", whole.iter().find(|line| !known(line)));
}
