//! A running machine is looked at from another process: ps, dump, kill, log and top, as people and as programs see them, while its servers
//! crash; and the terminal is itself again after top.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use running::Running;
use serde_json::Value;

#[path = "control/clients.rs"]
mod clients;
mod running;

/// What a guest does until it is ended, and when its serial port crashes: within the boot.
const BOOT: [&str; 4] = [
    "--inject",
    "crash uart/port-write nth=300",
    "--exec",
    "while true; do echo busy; sleep 0.1; done",
];
/// To the terminal's other screen, and back.
const SCREEN: [&str; 2] = ["\x1b[?1049h", "\x1b[?25h\x1b[?1049l"];

/// The one line of an error.
fn error(machine: &Running, arguments: &[&str]) -> String {
    let text = machine.error(arguments);
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Runs top on a terminal of its own, ends it when it has drawn a frame, and gives all that it wrote. The terminal is itself again.
fn top(machine: &Running, end: impl FnOnce(&mut File, &Child)) -> String {
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
    let mut seen = String::new();
    let mut read = |screen: &mut File, text: &str| {
        let mut chunk = [0; 4096];
        while !seen.contains(text) {
            let read = screen.read(&mut chunk).unwrap();
            seen += &String::from_utf8_lossy(&chunk[..read]);
        }
        seen.clone()
    };
    read(&mut screen, "supervisor");
    assert!(
        !tcgetattr(&pair.slave)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ICANON),
        "the terminal is not raw"
    );
    end(&mut screen, &top);
    let mut seen = read(&mut screen, SCREEN[1]);
    top.wait().unwrap();
    assert!(
        tcgetattr(&pair.slave)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    );
    assert!(seen.contains(SCREEN[0]), "{seen:?}");
    drop(pair.slave);
    // It ends with an error: nobody has the other end open any more.
    let mut rest = Vec::new();
    let _ = screen.read_to_end(&mut rest);
    seen += &String::from_utf8_lossy(&rest);
    seen
}

#[test]
fn a_running_machine_tells_of_itself_while_its_servers_crash() {
    let machine = Running::start("control", &BOOT);
    machine.wait_until("the serial port has crashed", || {
        machine.ask(&["dump", "uart"]).status.success()
    });

    let injected = machine.json(&["dump", "uart"]);
    assert_eq!(
        (&injected["origin"], &injected["server"], &injected["role"]),
        (&"injected".into(), &"uart".into(), &"serial".into())
    );
    assert!(injected["reason"]["Exception"].is_object(), "{injected:#}");
    assert!(
        injected["registers"]["rip"]
            .as_str()
            .is_some_and(|rip| rip != "0x0"),
        "{injected:#}"
    );
    assert!(
        injected["message"]
            .as_str()
            .is_some_and(|message| message.contains("PortWrite")),
        "{injected:#}"
    );
    assert!(
        injected["history"]
            .as_array()
            .is_some_and(|past| !past.is_empty() && past.len() <= 32),
        "{injected:#}"
    );

    assert!(error(&machine, &["dump", "msr"]).contains("'msr' has not been faulted"));
    assert!(error(&machine, &["kill", "disk"]).contains(
        "there is no server or role 'disk' in this machine; there are: supervisor, cpuid"
    ));

    for (asked, name) in [
        ("serial", "uart"),
        ("control", "control"),
        ("supervisor", "supervisor"),
        ("irqchip", "irqchip"),
    ] {
        let before = machine.restarts(name);
        assert_eq!(machine.json(&["kill", asked])["server"], name);
        machine.wait_until("it is restarted", || machine.restarts(name) > before);
        assert_eq!(machine.json(&["dump", asked])["origin"], "asked for");
    }
    let uart = machine.server("uart");
    assert_eq!(
        (&uart["state"], &uart["instructions"]),
        (&"running".into(), &Value::Null),
        "time is not counted in instructions"
    );
    assert!(uart["activations"].as_u64() > Some(300));

    machine.text(&["swap", "uart", "uart-ring"]);
    assert_eq!(
        (machine.image("uart"), Some(machine.restarts("uart"))),
        ("uart-ring".into(), uart["restarts"].as_u64())
    );
    assert!(
        machine.server("uart")["generation"].as_u64() > uart["generation"].as_u64(),
        "a swap is no restart, but a start"
    );
    assert!(
        machine
            .text(&["ps"])
            .lines()
            .any(|line| line.contains(" uart ") && line.contains(" uart-ring "))
    );
    assert_eq!(
        machine.text(&["ps"]).lines().count(),
        13,
        "a line for each server, and one above them"
    );
    assert!(machine.text(&["log"]).contains("`irqchip`"));
    assert!(
        machine.json(&["log"])["lines"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line.as_str().unwrap().contains("`uart`"))
    );
    assert!(machine.text(&["top", "--once"]).contains("activ./s"));
    assert_eq!(machine.json(&["top"])["machine"], machine.name.as_str());

    let drawn = top(&machine, |screen, _| screen.write_all(b"q").unwrap());
    assert!(drawn.contains("irqchip"), "{drawn:?}");
    top(&machine, |_, top| running::end(top));

    let mut follower = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["log", "-f", "--name", &machine.name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = top(&machine, |_, _| running::end(&machine.tool));
    assert!(
        ended.contains(&format!("the machine '{}' has ended", machine.name)),
        "{ended:?}"
    );
    let name = machine.name.clone();
    drop(machine);
    let mut log = String::new();
    follower
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(
        follower.wait().unwrap().success() && log.contains("machine runs"),
        "it ends with the machine"
    );
    let gone = Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["top", "--name", &name])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&gone.stderr)
            .contains(&format!("no machine named '{name}' is running"))
    );
}
