//! Many ask one machine at once: nobody waits for another, and nobody waits without a word.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use atoll::run::instance::control_of;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::running::Running;

/// What the guest does until it is ended.
const WORK: [&str; 3] = [
    "--stats",
    "--exec",
    "while true; do echo busy; sleep 0.1; done",
];

#[test]
fn a_machine_is_asked_and_changed_while_others_watch_it_say_nothing_or_do_not_read() {
    let machine = Running::start("clients", &WORK);
    machine.wait_until("it runs", || machine.console().contains("busy"));

    // A live top, whose screen is read all along.
    let size = Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = openpty(&size, None).unwrap();
    let stdio = || Stdio::from(pair.slave.try_clone().unwrap());
    let mut top = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["top", "--name", &machine.name])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    let mut screen = File::from(pair.master);
    let mut keys = screen.try_clone().unwrap();
    let drawn = thread::spawn(move || {
        let mut seen = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = screen.read(&mut chunk) {
            seen.extend_from_slice(&chunk[..read]);
        }
        seen
    });

    // Those who connect and say nothing, and one that asks without end and reads nothing.
    let control = control_of(&machine.name).unwrap();
    let connect = || UnixStream::connect(&control).unwrap();
    let _silent: Vec<UnixStream> = (0..8).map(|_| connect()).collect();
    let mut greedy = connect();
    greedy.set_nonblocking(true).unwrap();
    let question = postcard::to_stdvec_cobs(&atoll_protocol::control::Ask::Servers).unwrap();
    while greedy.write_all(&question).is_ok() {}

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..3).for_each(|_| assert!(machine.text(&["ps"]).contains("supervisor")));
            });
        }
        scope.spawn(|| {
            for image in ["uart-ring", "uart", "uart-ring"] {
                machine.text(&["swap", "uart", image]);
            }
            assert_eq!(machine.image("uart"), "uart-ring");
        });
        scope.spawn(|| machine.text(&["kill", "msr"]));
        scope.spawn(|| machine.text(&["ping"]));
    });
    assert!(machine.text(&["log"]).contains("machine runs"));

    keys.write_all(b"q").unwrap();
    assert!(top.wait().unwrap().success());
    drop((pair.slave, keys));
    assert!(String::from_utf8_lossy(&drawn.join().unwrap()).contains("supervisor"));
}

#[test]
fn a_command_to_a_machine_whose_tool_is_stopped_ends_with_a_word_about_it() {
    let machine = Running::start("stopped", &WORK);
    machine.wait_until("it runs", || machine.console().contains("busy"));
    let tool = Pid::from_raw(machine.tool.id().cast_signed());
    kill(tool, Signal::SIGSTOP).unwrap();
    let waiting: Vec<_> = (0..6)
        .map(|_| thread::spawn(ask_again(&machine.name)))
        .collect();
    for asked in waiting {
        let said = asked.join().unwrap();
        assert!(
            said.contains(&format!("process {tool}, which runs it, may be stopped")),
            "{said}"
        );
        assert!(said.contains("waiting for an answer"), "{said}");
    }
    kill(tool, Signal::SIGCONT).unwrap();
    machine.wait_until("it answers again", || {
        machine.ask(&["ping"]).status.success()
    });
}

fn ask_again(name: &str) -> impl FnOnce() -> String + Send + use<> {
    let name = name.to_owned();
    move || {
        let output = Command::new(env!("CARGO_BIN_EXE_atoll"))
            .args(["ping", "--name", &name])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125));
        String::from_utf8(output.stderr).unwrap()
    }
}
