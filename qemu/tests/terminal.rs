//! The user's terminal: raw while the guest has it, and itself again whatever ends the boot.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

/// The tool, with a guest at its prompt, on a terminal of its own.
struct Boot {
    child: Child,
    screen: File,
    terminal: OwnedFd,
}

const PROMPT: &str = "/root # ";
/// How long the screen may stand still before it is asked whether the tool still runs.
const PATIENCE_MS: u16 = 500;

impl Boot {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let pair = openpty(None, None).unwrap();
        let stdio = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(["boot", "--name", &format!("{name}-{}", std::process::id())])
            .args(arguments)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut boot = Self {
            child,
            screen: File::from(pair.master),
            terminal: pair.slave,
        };
        boot.wait_for(PROMPT);
        assert!(!boot.terminal_is_itself(), "the terminal is not raw");
        boot
    }

    fn wait_for(&mut self, text: &str) {
        let mut seen = Vec::new();
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut ready = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(PATIENCE_MS)).unwrap() > 0 {
                let read = self.screen.read(&mut chunk).unwrap();
                seen.extend_from_slice(&chunk[..read]);
            } else if self.child.try_wait().unwrap().is_some() {
                panic!("the tool ended before it showed '{text}'");
            }
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    fn terminal_is_itself(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// The one process that the tool has started.
    fn qemu(&self) -> Pid {
        let id = self.child.id();
        let children: String = fs::read_dir(format!("/proc/{id}/task"))
            .unwrap()
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
            .collect();
        Pid::from_raw(
            children
                .split_whitespace()
                .next()
                .expect("QEMU does not run")
                .parse()
                .unwrap(),
        )
    }

    fn end(mut self) -> ExitStatus {
        // The screen has to be read for the tool to get to its end.
        let mut screen = self.screen.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while screen.read(&mut chunk).is_ok_and(|read| read > 0) {}
        });
        let status = self.child.wait().unwrap();
        assert!(self.terminal_is_itself(), "the terminal is still raw");
        status
    }
}

#[test]
fn the_escape_key_ends_a_boot_with_success() {
    let mut boot = Boot::start("escape", &["--direct"]);
    boot.type_in("\x01x");
    assert_eq!(boot.end().code(), Some(0));
}

#[test]
fn a_signal_to_the_tool_ends_qemu_too() {
    let boot = Boot::start("signal", &["--direct"]);
    let qemu = boot.qemu();
    kill(
        Pid::from_raw(boot.child.id().cast_signed()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(!boot.end().success());
    assert!(kill(qemu, None).is_err(), "QEMU still runs");
}

#[test]
fn a_qemu_that_is_killed_is_a_failure_of_the_hypervisor() {
    let boot = Boot::start("killed", &["--direct"]);
    kill(boot.qemu(), Signal::SIGKILL).unwrap();
    assert_eq!(boot.end().code(), Some(127));
}

#[test]
fn a_reboot_boots_again_and_a_power_off_ends_with_success() {
    let mut boot = Boot::start("reboot", &[]);
    boot.type_in("reboot\r");
    boot.wait_for("Linux version");
    boot.wait_for(PROMPT);
    boot.type_in("poweroff\r");
    assert_eq!(boot.end().code(), Some(0));
}
