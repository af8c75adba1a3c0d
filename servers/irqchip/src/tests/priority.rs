//! Which vector is offered, and when.

use super::{Board, LAPIC};

fn request(board: &mut Board, vector: u8) {
    board.store(LAPIC + 0x300, 0x0004_0000 | u32::from(vector));
}

#[test]
fn of_two_the_higher_is_offered_and_replaces_the_lower() {
    let mut board = Board::with_apic();
    request(&mut board, 0x41);
    assert_eq!(board.fixed(), Some(0x41));
    request(&mut board, 0x85);
    assert_eq!(board.fixed(), Some(0x85));
    board.accept();
    board.eoi();
    assert_eq!(board.fixed(), Some(0x41));
}

#[test]
fn a_vector_of_the_class_in_service_waits_and_one_of_a_higher_class_does_not() {
    let mut board = Board::with_apic();
    request(&mut board, 0x51);
    board.take();
    request(&mut board, 0x5f);
    assert_eq!(board.fixed(), None);
    request(&mut board, 0x60);
    assert_eq!(board.fixed(), Some(0x60));
    board.take();
    assert_eq!(board.load(LAPIC + 0xa0), 0x60, "processor priority");
    board.eoi();
    assert_eq!(board.fixed(), None);
    board.eoi();
    assert_eq!(board.fixed(), Some(0x5f));
}

#[test]
fn a_service_outlives_a_nested_one() {
    let mut board = Board::with_apic();
    request(&mut board, 0x31);
    board.take();
    request(&mut board, 0x91);
    board.take();
    board.eoi();
    assert_eq!(board.load(LAPIC + 0x110), 1 << (0x31 - 0x20));
    board.eoi();
    assert_eq!(board.load(LAPIC + 0x110), 0);
}

#[test]
fn an_end_without_service_is_nothing() {
    let mut board = Board::with_apic();
    board.eoi();
    assert_eq!(board.offers, 0);
    request(&mut board, 0x41);
    board.eoi();
    assert_eq!((board.offers, board.fixed()), (0, Some(0x41)));
}

#[test]
fn the_priority_register_sets_the_kernels_task_priority() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x80, 0x57);
    assert_eq!(
        board.server.header.tpr, 5,
        "the kernel, which blocks by it, is told its class"
    );
    request(&mut board, 0x5f);
    assert_eq!(board.fixed(), Some(0x5f), "on offer");
    assert_eq!(
        (board.load(LAPIC + 0x80), board.load(LAPIC + 0xa0)),
        (0x57, 0x57)
    );
    board.store(LAPIC + 0x80, 0x4f);
    assert_eq!(board.server.header.tpr, 4);
}

#[test]
fn the_kernels_task_priority_does_not_hold_an_offer_back_but_is_shown() {
    let mut board = Board::with_apic();
    board.server.header.tpr = 7;
    request(&mut board, 0x41);
    assert_eq!(
        board.fixed(),
        Some(0x41),
        "the kernel blocks it, and knows when no longer"
    );
    assert_eq!(
        (board.load(LAPIC + 0x80), board.load(LAPIC + 0xa0)),
        (0x70, 0x70)
    );
}

#[test]
fn a_changed_cr8_replaces_what_was_written_to_the_register() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x80, 0x83);
    board.server.header.tpr = 3;
    assert_eq!(board.load(LAPIC + 0x80), 0x30);
    board.server.header.tpr = 0;
    assert_eq!(board.load(LAPIC + 0x80), 0);
}

#[test]
fn the_x2apics_priority_register_sets_it_too_and_a_reset_clears_it() {
    let mut board = Board::with_x2apic();
    assert!(board.wrmsr(0x808, 0x90));
    assert_eq!(board.server.header.tpr, 9);
    assert!(board.wrmsr(0x1b, LAPIC));
    assert_eq!(board.server.header.tpr, 0);
}

#[test]
fn the_8259s_go_first_and_the_apic_follows_with_the_acceptance() {
    let mut board = Board::new();
    board.init_pics(false);
    board.outb(0x21, 0xfe);
    request(&mut board, 0xf0);
    board.pulse(0);
    assert_eq!(board.external(), Some(0x30));
    board.take();
    assert_eq!(board.fixed(), Some(0xf0));
}
