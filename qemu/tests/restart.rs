//! Servers are killed while Linux runs, and Linux does not notice: its console is what it is without that.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use atoll::control::{Line, orders};
use atoll::run::End;
use atoll::testing::Boot;

/// Every server that runs beside Linux, and the one that restarts them.
const ALL: [&str; 12] = [
    "cpuid",
    "msr",
    "hypercall",
    "mmu",
    "irqchip",
    "pit",
    "rtc",
    "pm",
    "uart",
    "console",
    "control",
    "supervisor",
];

/// Output, timers, files, processes; every line of it is the same at every run.
const WORKLOAD: &str = "for i in $(seq 1 300); do echo line $i of many, each as long as a line of text usually is; done; \
    md5sum /bin/busybox; for i in 1 2 3 4 5 6 7 8; do sleep 0.25; echo slept; done; \
    dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum; grep flags /proc/cpuinfo; for i in $(seq 1 100); do echo again $i; done";

/// Kills these servers in turn for as long as the machine answers; how often each was.
fn kill_in_turn(control: &Path, servers: &[&'static str]) -> BTreeMap<&'static str, u32> {
    let mut line = loop {
        // QEMU makes the socket a moment after it starts.
        match Line::at("restart", control) {
            Ok(line) => break line,
            Err(_) => sleep(Duration::from_millis(20)),
        }
    };
    let mut killed = BTreeMap::new();
    for server in servers.iter().cycle() {
        match orders::kill(&mut line, server) {
            Ok(_) => *killed.entry(*server).or_default() += 1,
            // Before the machine is built there is nobody to answer yet, and at its end nobody any more.
            Err(_) if killed.is_empty() => sleep(Duration::from_millis(20)),
            Err(_) => return killed,
        }
    }
    killed
}

#[test]
fn linux_does_not_notice_that_its_servers_and_their_supervisor_are_killed_all_the_time() {
    let boot = Boot::guest("linux").exec(WORKLOAD);
    let golden = boot.run().unwrap();
    let (booted, killed) = boot
        .meanwhile(|control| kill_in_turn(control, &ALL))
        .unwrap();
    let different = booted
        .console
        .lines()
        .zip(golden.console.lines())
        .find(|(mine, its)| mine != its);
    assert_eq!(
        (different, booted.console.len()),
        (None, golden.console.len())
    );
    assert_eq!((booted.status, booted.ended.end), (0, End::PowerOff));
    for server in ALL {
        assert!(
            killed.get(server).is_some_and(|count| *count >= 3),
            "{server} was hardly killed: {killed:?}"
        );
    }
    assert!(booted.log.matches("broke a rule: Killed").count() >= 3 * ALL.len());
}

#[test]
fn nothing_that_is_typed_is_lost_or_doubled_while_the_serial_port_and_its_driver_are_killed() {
    let typed = "echo the quick brown fox jumps over the lazy dog, 0123456789 times | tr a-z A-Z\r";
    let answer = "\nTHE QUICK BROWN FOX JUMPS OVER THE LAZY DOG, 0123456789 TIMES";
    let mut boot = Boot::guest("linux");
    for _ in 0..20 {
        boot = boot.type_after("/root # ", typed).type_after(answer, "");
    }
    let boot = boot.type_after("/root # ", "poweroff\r");
    let (booted, killed) = boot
        .meanwhile(|control| kill_in_turn(control, &["uart", "console"]))
        .unwrap();
    assert_eq!(
        (booted.status, booted.ended.end),
        (0, End::PowerOff),
        "{}",
        booted.console
    );
    assert_eq!(
        booted.console.matches(answer).count(),
        20,
        "{}",
        booted.console
    );
    assert!(
        killed.values().all(|count| *count >= 3) && killed.len() == 2,
        "{killed:?}"
    );
}
