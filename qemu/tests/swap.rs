//! Servers are swapped while Linux runs, and Linux does not notice.
#![forbid(unsafe_code)]

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use atoll::Error;
use atoll::control::{Line, orders};
use atoll::testing::{Boot, Booted};

/// What is swapped for what while Linux boots: nothing that takes away what Linux has seen.
const WHILE_IT_BOOTS: [Swap; 11] = [
    ("cpuid", "cpuid", false),
    ("msr", "msr", false),
    ("hypercall", "hypercall", false),
    ("mmu", "mmu-npt", false),
    ("irqchip", "irqchip", false),
    ("pit", "pit", false),
    ("rtc", "rtc", false),
    ("pm", "pm", false),
    ("uart", "uart", false),
    ("console", "console", false),
    ("control", "control", false),
];

/// What is swapped once programs run. Linux looks at the features of its CPU while it boots, at one moment and the next, and would die if
/// they differed; it has made its choices then. A program looks once, when it starts, and all that it may find is there.
const WHILE_IT_WORKS: [Swap; 12] = [
    ("cpuid", "cpuid-strict", true),
    ("irqchip", "irqchip", false),
    ("uart", "uart", false),
    ("console", "console", false),
    ("pit", "pit", false),
    ("cpuid", "cpuid", false),
    ("msr", "msr", false),
    ("hypercall", "hypercall", false),
    ("mmu", "mmu-npt", false),
    ("rtc", "rtc", false),
    ("pm", "pm", false),
    ("control", "control", false),
];

/// A server, the image that takes its place, and whether by force.
type Swap = (&'static str, &'static str, bool);

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

/// Swaps in turn for as long as the machine answers and `more` says so; how many swaps were done.
fn swap_in_turn(line: &mut Line, swaps: &[Swap], mut more: impl FnMut() -> bool) -> u32 {
    let mut swapped = 0;
    for (server, image, force) in swaps.iter().cycle().take_while(|_| more()) {
        match orders::swap(line, server, image, *force) {
            Ok(_) => swapped += 1,
            // It was called off; `assert_only_late` looks why.
            Err(Error::Refused { .. }) => {}
            Err(_) => break,
        }
    }
    swapped
}

/// That no swap was called off but for want of time: on a busy host any activation may take too long. The guest must not notice that, either.
fn assert_only_late(booted: &Booted) {
    let mut faults = booted.log.lines().filter(|line| line.contains(" faulted: "));
    let other = faults.find(|line| !line.contains("it ran longer than") && !line.contains("it used up its run time"));
    assert_eq!(other, None, "{}", booted.log);
}

#[test]
fn linux_does_not_notice_that_its_servers_are_swapped_all_the_time() {
    let boot = Boot::guest("linux").exec(WORKLOAD);
    let golden = boot.run().unwrap();
    let (booted, (early, late)) = boot
        .meanwhile(|machine| {
            let mut line = line(machine);
            let early = swap_in_turn(&mut line, &WHILE_IT_BOOTS, || !machine.has_printed("line 1 of"));
            (early, swap_in_turn(&mut line, &WHILE_IT_WORKS, || true))
        })
        .unwrap();
    booted.assert_like(&golden);
    assert!(early >= 22 && late >= 24, "only {early} and {late} swaps");
    assert_only_late(&booted);
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
            assert!(matches!(orders::swap(&mut line, "cpuid", "nobody", false), Err(Error::Missing { .. })));
            assert!(matches!(orders::swap(&mut line, "nobody", "cpuid", false), Err(Error::Missing { .. })));
        })
        .unwrap();
    assert!(booted.log.contains("the guest relies on features of its CPU that this model does not have"), "{}", booted.log);
    assert_eq!((booted.console.as_str(), booted.status), ("1\ndone\n", 0));
}
