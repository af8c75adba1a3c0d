//! A machine that runs in the background, asked from other processes as its users do.

use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long a step may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(180);

/// A machine that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) name: String,
    /// Runs it, as long as it is not ended.
    pub(crate) tool: Child,
    dir: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&self.tool);
        let _ = self.tool.wait();
    }
}

/// Asks a tool to end.
pub(crate) fn end(tool: &Child) {
    let _ = kill(
        Pid::from_raw(tool.id().try_into().unwrap()),
        Signal::SIGTERM,
    );
}

impl Running {
    /// Boots Linux with `arguments`, under a name that begins with `prefix`.
    pub(crate) fn start(prefix: &str, arguments: &[&str]) -> Self {
        let (name, dir) = (
            format!("{prefix}-{}", std::process::id()),
            tempfile::tempdir().unwrap(),
        );
        let console = File::create(dir.path().join("console")).unwrap();
        let tool = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(["boot", "--name", &name])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(console)
            .spawn()
            .unwrap();
        Self { name, tool, dir }
    }

    /// What the guest has printed.
    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("console")).unwrap()).into_owned()
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let latest = Instant::now() + PATIENCE;
        while !so() {
            let log = || String::from_utf8_lossy(&self.ask(&["log"]).stdout).into_owned();
            assert!(
                Instant::now() < latest,
                "not in time: {what}\n{}\n{}",
                self.console(),
                log()
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// A command about it.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(arguments)
            .args(["--name", &self.name])
            .output()
            .unwrap()
    }

    /// What a command prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, for programs.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What a command that fails says; the error is its last line.
    pub(crate) fn error(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(125), &b""[..])
        );
        String::from_utf8(output.stderr)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// A server, as `ps` lists it.
    pub(crate) fn server(&self, name: &str) -> Value {
        let listing = self.json(&["ps"]);
        listing["servers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|server| server["server"] == name)
            .unwrap()
            .clone()
    }

    /// The image that is in a server's place.
    pub(crate) fn image(&self, name: &str) -> String {
        self.server(name)["image"].as_str().unwrap().to_owned()
    }

    /// How often a server was restarted.
    pub(crate) fn restarts(&self, name: &str) -> u64 {
        self.server(name)["restarts"].as_u64().unwrap()
    }
}
