//! The local APIC's timer, message by message.

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::units::{Ticks, TimerId};
use std::vec::Vec;

use super::{Board, LAPIC};

#[test]
fn a_deadline_fires_once_and_reads_as_zero_after() {
    let mut board = Board::with_x2apic();
    assert!(board.wrmsr(0x832, 0x4_00ec));
    assert!(board.wrmsr(0x6e0, 5_000));
    assert_eq!(
        (board.armed, board.rdmsr(0x6e0)),
        (Some(5_000), Some(5_000))
    );
    assert_eq!(board.run_until(10_000), [5_000]);
    assert_eq!((board.fixed(), board.rdmsr(0x6e0)), (Some(0xec), Some(0)));
    board.accept();
    assert!(board.wrmsr(0x6e0, 20_000));
    assert!(board.wrmsr(0x80b, 0));
    assert_eq!(board.fixed(), None);
    assert_eq!(board.run_until(30_000), [20_000]);
    assert_eq!(board.fixed(), Some(0xec));
}

#[test]
fn a_deadline_in_the_past_fires_as_well_and_zero_disarms() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x320, 0x4_00ec);
    board.run_until(1_000_000);
    assert!(board.wrmsr(0x6e0, 1));
    assert_eq!(board.run_until(1_000_001), [1]);
    assert_eq!(board.fixed(), Some(0xec));
    assert!(board.wrmsr(0x6e0, 2_000_000));
    assert!(board.wrmsr(0x6e0, 0));
    assert_eq!(board.armed, None);
}

#[test]
fn a_deadline_outside_deadline_mode_is_ignored() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x320, 0x2_00ec);
    assert!(board.wrmsr(0x6e0, 5_000));
    assert_eq!((board.armed, board.rdmsr(0x6e0)), (None, Some(0)));
}

#[test]
fn an_expiry_of_a_deadline_that_has_been_replaced_is_not_taken_for_the_new_one() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x320, 0x4_00ec);
    assert!(board.wrmsr(0x6e0, 5_000));
    board.run_until(4_000);
    assert!(board.wrmsr(0x6e0, 9_000));
    let answer = board.deliver(Body::Timer(TimerId::nth(0)));
    assert_eq!(
        answer.effects(),
        [Effect::Arm(TimerId::nth(0), Fixed(Ticks(9_000)))]
    );
    assert_eq!(board.fixed(), None);
    assert_eq!(board.run_until(9_000), [9_000]);
    assert_eq!(board.fixed(), Some(0xec));
}

#[test]
fn a_periodic_timer_is_armed_from_its_last_deadline() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x3e0, 0x3);
    board.store(LAPIC + 0x320, 0x2_00ec);
    board.run_until(100);
    board.store(LAPIC + 0x380, 62_500);
    let expected: Vec<u64> = (1..=10).map(|n| 100 + n * 1_000_000).collect();
    assert_eq!(board.run_until(10_500_000), expected);
    assert_eq!(
        board.load(LAPIC + 0x390),
        (11_000_100 - 10_500_000_u32).div_ceil(16)
    );
    board.store(LAPIC + 0x380, 0);
    assert_eq!(board.armed, None);
}

#[test]
fn a_masked_timer_counts_but_does_not_interrupt() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x3e0, 0xb);
    board.store(LAPIC + 0x320, 0x1_00ec);
    board.store(LAPIC + 0x380, 1_000);
    assert_eq!(board.run_until(600), []);
    assert_eq!(board.load(LAPIC + 0x390), 400);
    assert_eq!(board.run_until(2_000), [1_000]);
    assert_eq!((board.fixed(), board.load(LAPIC + 0x390)), (None, 0));
}

#[test]
fn an_end_with_nothing_pending_changes_only_what_is_in_service() {
    let mut board = Board::with_x2apic();
    assert!(board.wrmsr(0x832, 0x4_00ec));
    assert!(board.wrmsr(0x6e0, 5_000));
    board.run_until(6_000);
    board.take();
    let before = *board.server.state();
    assert!(board.wrmsr(0x80b, 0));
    let after = board.server.state();
    assert_eq!(before.lapics[0].live.tmr, after.lapics[0].live.tmr);
    assert_eq!(before.lapics[0].live.offered, after.lapics[0].live.offered);
    assert_eq!(
        board.offers, 0,
        "nothing else pends, so that nothing is told"
    );
}
