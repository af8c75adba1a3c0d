//! The I/O APIC and the local APIC's registers.

use super::{Board, IOAPIC, LAPIC};

const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

#[test]
fn the_first_state_is_virtual_wire_on_the_bootstrap_cpu() {
    let mut board = Board::new();
    assert_eq!(board.rdmsr(0x1b), Some(0xfee0_0900));
    assert_eq!(board.load(LAPIC + 0x30), 0x0005_0014);
    assert_eq!(board.load(LAPIC + 0x350), 0x700);
    assert_eq!(board.load(LAPIC + 0x360), 0x400);
    assert_eq!(board.load(LAPIC + 0x320), 0x1_0000);
    assert_eq!(board.load(LAPIC + 0xf0), 0x1ff);
    assert_eq!(board.load(LAPIC + 0xe0), 0xffff_ffff);
}

#[test]
fn the_i_o_apic_has_24_masked_pins() {
    let mut board = Board::new();
    board.store(IOAPIC, 1);
    assert_eq!(board.load(IOAPIC + 0x10), 0x0017_0020);
    for pin in 0..24 {
        assert_eq!(board.entry(pin), 0x1_0000);
    }
    board.store(IOAPIC, 0);
    board.store(IOAPIC + 0x10, 0x0f00_0000);
    assert_eq!(board.load(IOAPIC + 0x10), 0x0f00_0000);
}

#[test]
fn an_edge_is_one_interrupt() {
    let mut board = Board::with_apic();
    board.redirect(4, 0x54);
    board.line(4, true, true);
    assert_eq!(board.fixed(), Some(0x54));
    board.accept();
    board.eoi();
    assert_eq!(board.fixed(), None);
    board.line(4, false, false);
    assert_eq!(board.fixed(), None);
    board.pulse(4);
    assert_eq!(board.fixed(), Some(0x54));
}

#[test]
fn an_edge_during_its_own_service_comes_again_after_the_end() {
    let mut board = Board::with_apic();
    board.redirect(4, 0x54);
    board.pulse(4);
    board.take();
    board.pulse(4);
    assert_eq!(board.fixed(), None);
    board.eoi();
    assert_eq!(board.fixed(), Some(0x54));
}

#[test]
fn the_timers_line_is_pin_2() {
    let mut board = Board::with_apic();
    board.redirect(2, 0x30);
    board.pulse(0);
    assert_eq!(board.fixed(), Some(0x30));
}

#[test]
fn a_level_that_stays_high_is_offered_again_after_its_end() {
    let mut board = Board::with_apic();
    board.redirect(19, 0x61 | LEVEL);
    board.line(19, true, true);
    assert_eq!(board.fixed(), Some(0x61));
    assert_eq!(board.entry(19) & REMOTE_IRR, REMOTE_IRR);
    board.take();
    board.line(19, true, true);
    assert_eq!(board.fixed(), None);
    board.eoi();
    assert_eq!(board.fixed(), Some(0x61));
    board.accept();
    board.line(19, false, false);
    board.eoi();
    assert_eq!(board.fixed(), None);
    assert_eq!(board.entry(19) & REMOTE_IRR, 0);
}

#[test]
fn a_masked_level_comes_when_it_is_unmasked_and_a_masked_edge_is_lost() {
    let mut board = Board::with_apic();
    board.redirect(19, 0x61 | LEVEL | MASKED);
    board.redirect(4, 0x54 | MASKED);
    board.line(19, true, true);
    board.line(4, true, true);
    board.redirect(4, 0x54);
    assert_eq!(board.fixed(), None);
    board.redirect(19, 0x61 | LEVEL);
    assert_eq!(board.fixed(), Some(0x61));
}

#[test]
fn the_eoi_register_ends_what_the_local_apic_did_not() {
    let mut board = Board::with_apic();
    board.redirect(19, 0x61 | LEVEL);
    board.line(19, true, true);
    board.take();
    board.line(19, false, false);
    board.store(IOAPIC + 0x40, 0x61);
    assert_eq!(board.entry(19) & REMOTE_IRR, 0);
}

#[test]
fn making_a_pin_edge_triggered_for_a_moment_clears_remote_irr() {
    let mut board = Board::with_apic();
    board.redirect(19, 0x61 | LEVEL);
    board.line(19, true, true);
    board.take();
    board.line(19, false, false);
    board.redirect(19, 0x61 | MASKED);
    board.redirect(19, 0x61 | LEVEL | MASKED);
    assert_eq!(board.entry(19) & REMOTE_IRR, 0);
}

#[test]
fn logical_and_physical_destinations_are_matched() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0xd0, 0x0200_0000);
    let sent = |board: &mut Board, entry: u64| {
        board.redirect(5, entry | 0x55);
        board.pulse(5);
        let got = board.fixed().is_some();
        if got {
            board.accept();
            board.eoi();
        }
        got
    };
    let logical = 1 << 11;
    assert!(sent(&mut board, 0));
    assert!(!sent(&mut board, 1 << 56));
    assert!(sent(&mut board, 0xff << 56));
    assert!(sent(&mut board, logical | 0x02 << 56));
    assert!(sent(&mut board, logical | 0x03 << 56));
    assert!(!sent(&mut board, logical | 0x01 << 56));
    assert!(sent(&mut board, logical | 0xff << 56));
    assert!(
        sent(&mut board, logical | 1 << 8 | 0x02 << 56),
        "lowest priority"
    );
    board.store(LAPIC + 0xe0, 0x0fff_ffff);
    board.store(LAPIC + 0xd0, 0x1200_0000);
    assert!(
        sent(&mut board, logical | 0x12 << 56),
        "cluster 1, member 2"
    );
    assert!(!sent(&mut board, logical | 0x22 << 56));
}

#[test]
fn an_nmi_from_a_pin_is_told_beside_what_is_on_offer() {
    let mut board = Board::with_apic();
    board.redirect(4, 0x54);
    board.redirect(7, 0x400);
    board.pulse(4);
    board.pulse(7);
    assert_eq!((board.nmis, board.fixed()), (1, Some(0x54)));
    board.line(9, true, true);
    assert_eq!(board.nmis, 1);
}

#[test]
fn a_self_ipi_comes_by_every_way() {
    for icr in [
        0x0004_0000_u64,
        0x0008_0000,
        0x0000_0000,
        0xff00_0000_0000_0000,
    ] {
        let mut board = Board::with_apic();
        board.store(LAPIC + 0x310, (icr >> 32) as u32);
        board.store(LAPIC + 0x300, icr as u32 | 0xf6);
        assert_eq!(board.fixed(), Some(0xf6), "{icr:#x}");
        assert_eq!(board.load(LAPIC + 0x300) & 1 << 12, 0, "idle");
    }
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x300, 0x000c_00f6);
    assert_eq!(board.fixed(), None, "all but self");
    let mut board = Board::with_x2apic();
    assert!(board.wrmsr(0x83f, 0xf7));
    assert_eq!(board.fixed(), Some(0xf7));
    assert!(board.wrmsr(0x830, 0x0004_00f9));
    assert_eq!(board.fixed(), Some(0xf9));
    assert!(board.wrmsr(0x830, 0x0004_0400));
    assert_eq!(board.nmis, 1);
}

#[test]
fn errors_are_latched_by_a_write_and_raise_their_interrupt() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x370, 0xfe);
    board.store(LAPIC + 0x300, 0x0004_0003);
    assert_eq!(board.fixed(), Some(0xfe));
    assert_eq!(board.load(LAPIC + 0x280), 0);
    board.store(LAPIC + 0x280, 0);
    assert_eq!(board.load(LAPIC + 0x280), 0x20);
    board.store(LAPIC + 0x280, 0);
    assert_eq!(board.load(LAPIC + 0x280), 0);
    board.load(LAPIC + 0x3a0);
    board.store(LAPIC + 0x280, 0);
    assert_eq!(board.load(LAPIC + 0x280), 0x80, "illegal register");
}

#[test]
fn a_software_disabled_apic_masks_its_table_and_takes_nothing() {
    let mut board = Board::with_apic();
    board.store(LAPIC + 0x320, 0xec);
    board.redirect(4, 0x54);
    board.store(LAPIC + 0xf0, 0xff);
    assert_eq!(board.load(LAPIC + 0x320), 0x1_00ec);
    board.store(LAPIC + 0x320, 0xec);
    assert_eq!(board.load(LAPIC + 0x320), 0x1_00ec, "cannot be unmasked");
    board.pulse(4);
    assert_eq!(board.fixed(), None);
}

#[test]
fn the_memory_is_nobodys_in_x2apic_mode_and_the_msrs_outside_it() {
    let mut board = Board::with_apic();
    assert_eq!(board.rdmsr(0x802), None);
    assert!(!board.wrmsr(0x80b, 0));
    let mut board = Board::with_x2apic();
    assert_eq!(board.load(LAPIC + 0x30), 0xffff_ffff);
    assert_eq!(board.rdmsr(0x803), Some(0x0005_0014));
    assert_eq!(
        board.rdmsr(0x80d),
        Some(1),
        "the logical identification follows from the number"
    );
}

#[test]
fn x2apic_refuses_what_is_reserved() {
    let mut board = Board::with_x2apic();
    for (msr, value) in [
        (0x802, 0),
        (0x803, 0),
        (0x808, 0x100),
        (0x80a, 0),
        (0x80b, 1),
        (0x80d, 0),
        (0x80e, 0),
        (0x80f, 0x1_0000),
        (0x810, 0),
        (0x828, 1),
        (0x82f, 0),
        (0x830, 1 << 20),
        (0x831, 0),
        (0x832, 1 << 32),
        (0x839, 0),
        (0x83f, 0x100),
        (0x840, 0),
        (0x8ff, 0),
    ] {
        assert!(!board.wrmsr(msr, value), "{msr:#x} = {value:#x}");
    }
    for msr in [
        0x800, 0x809, 0x80b, 0x80c, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x8ff,
    ] {
        assert_eq!(board.rdmsr(msr), None, "{msr:#x}");
    }
}
