//! A host that has something else to do. What it takes from the machine is no server's fault: nobody is restarted for it.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use atoll::testing::{Boot, Booted};

/// How often the machine is stopped at most.
const STOPS: u64 = 30;
/// What Linux does meanwhile: some exits of each kind, and output.
const WORK: &str =
    "for i in $(seq 20); do cat /proc/interrupts; done | tail -n 1 >/dev/null; echo done";

#[track_caller]
fn assert_nobody_was_faulted(booted: &Booted) {
    assert_eq!(
        (booted.status, &booted.console[..]),
        (0, "done\n"),
        "{}",
        booted.log
    );
    assert!(!booted.log.contains("fault:"), "{}", booted.log);
}

#[test]
fn nobody_is_faulted_for_the_time_in_which_the_machine_is_stopped() {
    let boot = Boot::guest("linux").exec(WORK);
    let (booted, stops) = boot
        .meanwhile(|visit| {
            // Each stop is longer than any server may run. It lies where the machine happens to be: so there are many.
            let emulator = visit.emulator();
            (1..=STOPS)
                .take_while(|stop| {
                    thread::sleep(Duration::from_millis(50 + stop * 7 % 60));
                    emulator.stop_for(Duration::from_millis(200))
                })
                .count()
        })
        .unwrap();
    assert!(stops >= 5, "it was stopped {stops} times");
    assert_nobody_was_faulted(&booted);
}

/// Boots with so many threads beside QEMU that do nothing but spin.
fn boots(count: usize, threads: usize) -> Vec<Booted> {
    // What has to be built is, before others are in its way.
    Boot::guest("linux").exec("true").run().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let booted = (0..count)
            .map(|_| Boot::guest("linux").exec(WORK).run())
            .collect::<Result<Vec<_>, _>>();
        done.store(true, Ordering::Relaxed);
        booted.unwrap()
    })
}

#[test]
fn nobody_is_faulted_beside_noisy_neighbours() {
    let rounds = std::env::var("ATOLL_NOISY_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(2);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let booted = boots(rounds, 4 * cores);
    assert_eq!(booted.len(), rounds);
    booted.iter().for_each(assert_nobody_was_faulted);
}
