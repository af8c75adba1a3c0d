//! Servers are swapped while Linux runs, and Linux does not notice.
#![forbid(unsafe_code)]

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use atoll::Error;
use atoll::control::{Line, orders};
use atoll::run::End;
use atoll::testing::Boot;

/// What is swapped for what, in turn.
const SWAPS: [(&str, &str, bool); 5] = [
    ("cpuid", "cpuid-strict", true),
    ("cpuid", "cpuid", false),
    ("msr", "msr", false),
    ("hypercall", "hypercall", false),
    ("mmu", "mmu-npt", false),
];

/// Output, timers, files, processes.
const WORKLOAD: &str = "for i in $(seq 1 300); do echo line $i of many, each as long as a line of text usually is; done; \
    md5sum /bin/busybox; for i in 1 2 3 4 5 6 7 8; do sleep 0.25; echo slept; done; \
    dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum; for i in $(seq 1 100); do echo again $i; done";

/// The line to the machine, as soon as its control server answers.
fn line(control: &Path) -> Line {
    loop {
        if let Ok(mut line) = Line::at("swap", control)
            && atoll::control::tables::machine(&mut line).is_ok_and(|machine| machine.running)
        {
            return line;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Swaps in turn for as long as the machine answers; how many swaps were done.
fn swap_in_turn(control: &Path) -> u32 {
    let mut line = line(control);
    let mut swapped = 0;
    for (server, image, force) in SWAPS.iter().cycle() {
        match orders::swap(&mut line, server, image, *force) {
            Ok(()) => swapped += 1,
            Err(_) => break,
        }
    }
    swapped
}

#[test]
fn linux_does_not_notice_that_its_servers_are_swapped_all_the_time() {
    let boot = Boot::guest("linux").exec(WORKLOAD);
    let golden = boot.run().unwrap();
    let (booted, swapped) = boot.meanwhile(swap_in_turn).unwrap();
    let different = booted.console.lines().zip(golden.console.lines()).find(|(mine, its)| mine != its);
    assert_eq!((different, booted.console.len()), (None, golden.console.len()));
    assert_eq!((booted.status, booted.ended.end), (0, End::PowerOff));
    assert!(swapped >= 10, "only {swapped} swaps");
    assert!(!booted.log.contains("rolled back"), "{}", booted.log);
}

#[test]
fn what_cannot_be_swapped_is_refused_with_the_reason_and_changes_nothing() {
    let (booted, ()) = Boot::guest("linux")
        .exec("grep -c avx /proc/cpuinfo; sleep 3; echo done")
        .meanwhile(|control| {
            let mut line = line(control);
            let mut refused = |server, image, why: &str| match orders::swap(&mut line, server, image, false) {
                Err(Error::Refused { what, .. }) => assert!(what.contains(why), "{what}"),
                other => panic!("{server} for {image}: {other:?}"),
            };
            refused("cpuid", "cpuid-strict", "everything is as it was");
            refused("cpuid", "msr", "not of the role");
            refused("uart", "uart", "cannot be moved");
            assert!(matches!(orders::swap(&mut line, "cpuid", "nobody", false), Err(Error::Missing { .. })));
            assert!(matches!(orders::swap(&mut line, "nobody", "cpuid", false), Err(Error::Missing { .. })));
        })
        .unwrap();
    assert!(booted.log.contains("the guest relies on features of its CPU that this model does not have"), "{}", booted.log);
    assert_eq!((booted.console.as_str(), booted.status), ("1\ndone\n", 0));
}
