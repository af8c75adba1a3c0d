//! Servers are swapped while Linux runs, and Linux does not notice.
#![forbid(unsafe_code)]

use std::fs;

use atoll::control::orders;
use atoll::template::{self, Wanted};
use atoll::testing::Boot;
use atoll::{Error, place};

use crate::ordering::{Swap, assert_only_late, line, swap_in_turn, swap_rounds};

#[path = "swap/ordering.rs"]
mod ordering;
#[path = "swap/turns.rs"]
mod turns;

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

/// Output, timers, files, processes.
const WORKLOAD: &str = "for i in $(seq 1 300); do echo line $i of many, each as long as a line of text usually is; done; \
    md5sum /bin/busybox; for i in 1 2 3 4 5 6 7 8; do sleep 0.25; echo slept; done; \
    dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum; for i in $(seq 1 100); do echo again $i; done";

#[test]
fn linux_does_not_notice_that_its_servers_are_swapped_all_the_time() {
    let boot = Boot::guest("linux").exec(WORKLOAD);
    let golden = boot.run().unwrap();
    let (booted, (early, late)) = boot
        .meanwhile(|machine| {
            let mut line = line(machine);
            let early = swap_in_turn(&mut line, &WHILE_IT_BOOTS, || {
                !machine.has_printed("line 1 of")
            });
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
            let mut refused =
                |server, image, why: &str| match orders::swap(&mut line, server, image, false) {
                    Err(Error::Refused { what, .. }) => assert!(what.contains(why), "{what}"),
                    other => panic!("{server} for {image}: {other:?}"),
                };
            refused("cpuid", "cpuid-strict", "everything is as it was");
            refused("cpuid", "msr", "not of the role");
            assert!(matches!(
                orders::swap(&mut line, "cpuid", "nobody", false),
                Err(Error::Missing { .. })
            ));
            assert!(matches!(
                orders::swap(&mut line, "nobody", "cpuid", false),
                Err(Error::Missing { .. })
            ));
        })
        .unwrap();
    assert!(
        booted
            .log
            .contains("the guest relies on features of its CPU that this model does not have"),
        "{}",
        booted.log
    );
    assert_eq!((booted.console.as_str(), booted.status), ("1\ndone\n", 0));
}

#[test]
fn a_server_takes_an_older_ones_place_but_the_older_one_never_its() {
    let own = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        role: "cpuid",
        name: "older-cpuid",
        around: None,
    };
    template::make(&place::workspace().unwrap(), &wanted, own.path()).unwrap();
    let file = own.path().join("src/lib.rs");
    let made = fs::read_to_string(&file).unwrap();
    // It speaks the first version of the role's state, which knew no width of addresses.
    let older = made.replace(
        "    type Cache = ();\n",
        "    type Cache = ();\n    const STATE_VERSION: u16 = 1;\n",
    );
    assert_ne!(made, older);
    fs::write(&file, older).unwrap();
    let boot = Boot::guest("linux")
        .change("spares = [", "spares = [\"cpuid\", ")
        .swap("cpuid", own.path());
    let (booted, ()) = boot
        .exec("echo begun; sleep 2; echo done")
        .meanwhile(|machine| {
            assert!(machine.wait_for("begun"));
            let mut line = line(machine);
            swap_rounds(
                &mut line,
                &[
                    ("cpuid", "own-cpuid", true),
                    ("cpuid", "cpuid", false),
                    ("cpuid", "cpuid", false),
                ],
                1,
                || {},
            );
            match orders::swap(&mut line, "cpuid", "own-cpuid", true) {
                Err(Error::Refused { what, .. }) => {
                    assert!(what.contains("cannot be moved to that server"), "{what}")
                }
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    assert_eq!(
        (booted.console.as_str(), booted.status),
        ("begun\ndone\n", 0),
        "{}",
        booted.log
    );
    assert_only_late(&booted);
}
