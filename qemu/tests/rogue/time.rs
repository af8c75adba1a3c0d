//! Taking too much.

use atoll_protocol::fault::Reason;
use atoll_protocol::layout::STACK_TOP;
use atoll_rogue::Time;

use crate::outcome::{NUMBER, assert_contained, run};

/// The rogue's stack: the manifest's default.
const STACK: u64 = 32 << 10;

#[test]
fn an_endless_loop_is_a_hang() {
    assert_contained(Time::EndlessLoop.into(), Reason::Hang, 0);
}

#[test]
fn an_answer_that_uses_up_the_periods_run_time_is_the_last() {
    // It broke no rule up to there, so that this one answer is committed: the OUT is done, the rogue's state saved; and the supervisor
    // remembers that it was faulted one message later.
    let [supervisor, own] = [0, NUMBER].map(|number| format!("vault {number}"));
    let committed = |of: &str| {
        of.ends_with("vcpu") || of.ends_with(&own) || of == format!("at the end: {supervisor}")
    };
    run(Time::SlowAnswer.into()).assert(&[Reason::Overrun], 0, committed);
}

#[test]
fn a_stack_ends_at_its_guard_page() {
    let reason = Reason::Exception {
        vector: 14,
        error: 6,
        address: STACK_TOP - STACK - 8,
    };
    assert_contained(Time::StackOverflow.into(), reason, 0);
}

#[test]
fn a_panic_is_a_fault() {
    assert_contained(Time::Panic.into(), Reason::Panicked, 0);
}

#[test]
fn every_misdeed_of_this_kind_has_its_test() {
    assert_eq!(
        Time::ALL,
        [
            Time::EndlessLoop,
            Time::SlowAnswer,
            Time::StackOverflow,
            Time::Panic
        ]
    );
}
