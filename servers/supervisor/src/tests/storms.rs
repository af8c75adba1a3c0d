//! A server that gets past each message over which it fails, and fails at the next but one.

use super::fallbacks::{exchanged, falling, quarantined};
use super::*;

/// What comes of a storm.
struct Storm {
    /// Restarts at once.
    at_once: usize,
    /// Milliseconds of pauses before others.
    pauses: Vec<u64>,
    /// What is done at its end.
    end: Vec<String>,
}

/// It is faulted at every second message, 8 ms after it was restarted.
fn storm(supervisor: &mut Harness<SupervisorServer>, handled: &mut u64) -> Storm {
    let (mut at_once, mut pauses) = (0, Vec::new());
    loop {
        assert!(at_once + pauses.len() < 100, "it never ends");
        *handled += 6;
        supervisor.advance(Ticks(MACHINE.tsc_khz * 8));
        let done = does(supervisor, fault_at(*handled, Reason::Panicked));
        if done == restart_of(2) {
            at_once += 1;
        } else if done.len() == 1 && done[0].starts_with("Arm") {
            let began = supervisor.header.now;
            while does(supervisor, Body::Timer(watch::PAUSE)) != restart_of(2) {
                supervisor.advance(Ticks(MACHINE.tsc_khz));
            }
            pauses.push(supervisor.header.now.since(began).0 / MACHINE.tsc_khz);
        } else {
            return Storm {
                at_once,
                pauses,
                end: done,
            };
        }
    }
}

#[test]
fn a_server_that_crashes_at_every_second_message_is_slowed_down_and_then_quarantined() {
    let mut supervisor = restarting(3, Then::Quarantine);
    let storm = storm(&mut supervisor, &mut 0);
    assert_eq!(storm.at_once, 15);
    assert_eq!(
        storm.pauses,
        [1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 64, 64, 64, 64]
    );
    assert_eq!(storm.end, quarantined());
}

#[test]
fn it_falls_back_as_far_as_it_can_and_no_step_of_that_is_taken_twice() {
    let mut supervisor = falling(1);
    let mut handled = 0;
    for terms in ["Force", "Reset"] {
        let storm = storm(&mut supervisor, &mut handled);
        assert!(
            storm
                .end
                .iter()
                .any(|effect| effect.contains("Succeed") && effect.contains(terms)),
            "{:?}",
            storm.end
        );
        assert_eq!(
            does(&mut supervisor, Body::ServerStarted(swap::SCRATCH, 1)),
            exchanged()
        );
    }
    assert_eq!(storm(&mut supervisor, &mut handled).end, quarantined());
}

#[test]
fn a_server_that_is_swapped_by_order_begins_with_none() {
    let mut supervisor = falling(1);
    for handled in (10..34).step_by(2) {
        assert_eq!(
            does(&mut supervisor, fault_at(handled, Reason::Panicked)),
            restart_of(2)
        );
    }
    let order = postcard::to_extend(
        &Order::Swap(ServerId::nth(2), true, Some("next")),
        Vec::new(),
    )
    .unwrap();
    supervisor.deliver(Body::Request(ServerId::nth(1), &order));
    supervisor.deliver(Body::ServerStarted(swap::SCRATCH, 1));
    let storm = storm(&mut supervisor, &mut 100);
    assert_eq!((storm.at_once, storm.pauses.len()), (15, 15));
}

#[test]
fn faults_now_and_then_never_come_to_an_end() {
    let mut supervisor = restarting(3, Then::Quarantine);
    for handled in (0..10_000).step_by(2) {
        supervisor.advance(Ticks(MACHINE.tsc_khz * 2_000));
        assert_eq!(
            does(&mut supervisor, fault_at(handled, Reason::Panicked)),
            restart_of(2)
        );
    }
}
