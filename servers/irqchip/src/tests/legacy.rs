//! The 8259s, and how their interrupts reach a CPU.

use super::{Board, LAPIC};

fn legacy(mask: u16) -> Board {
    let mut board = Board::new();
    board.init_pics(false);
    board.outb(0x21, mask as u8);
    board.outb(0xa1, (mask >> 8) as u8);
    board
}

#[test]
fn a_kernel_without_apic_gets_the_timer_through_the_virtual_wire() {
    let mut board = legacy(0xfffe);
    board.pulse(0);
    assert_eq!(board.external(), Some(0x30));
    board.accept();
    board.outb(0x20, 0x60);
    assert_eq!(board.external(), None);
    board.pulse(0);
    assert_eq!(board.external(), Some(0x30));
}

#[test]
fn a_masked_lint0_holds_the_8259s_back_and_a_disabled_apic_lets_them_through() {
    let mut board = legacy(0xfffe);
    board.store(LAPIC + 0x350, 0x1_0700);
    board.pulse(0);
    assert_eq!(board.external(), None);
    board.store(LAPIC + 0x350, 0x700);
    assert_eq!(board.external(), Some(0x30));
    board.store(LAPIC + 0x350, 0x1_0700);
    assert_eq!(board.external(), None, "an offer is withdrawn");
    assert!(board.wrmsr(0x1b, LAPIC | 0x100));
    assert_eq!(board.external(), Some(0x30));
}

#[test]
fn the_slave_answers_behind_input_2_and_both_want_their_end() {
    let mut board = legacy(0x0000);
    board.line(12, true, true);
    assert_eq!(board.external(), Some(0x3c));
    board.take();
    board.line(14, true, true);
    assert_eq!(board.external(), None, "lower than what the slave serves");
    board.line(1, true, true);
    assert_eq!(board.external(), Some(0x31), "higher than the cascade");
    board.take();
    board.outb(0x20, 0x61);
    board.outb(0xa0, 0x64);
    board.outb(0x20, 0x62);
    assert_eq!(board.external(), Some(0x3e));
}

#[test]
fn a_level_triggered_line_that_stays_high_is_offered_again_after_its_end() {
    let mut board = legacy(0x0000);
    board.outb(0x4d1, 0x08);
    assert_eq!(board.inb(0x4d1), 0x08);
    board.line(11, true, true);
    assert_eq!(board.take(), 0x3b);
    assert_eq!(board.external(), None);
    board.outb(0xa0, 0x63);
    board.outb(0x20, 0x62);
    assert_eq!(board.external(), Some(0x3b));
    board.line(11, false, false);
    assert_eq!(board.external(), None, "withdrawn with the line");
}

#[test]
fn with_automatic_end_a_high_level_triggered_line_is_offered_again_with_its_acceptance() {
    let mut board = Board::new();
    board.init_pics(true);
    board.outb(0x21, 0x00);
    board.outb(0x4d0, 0x20);
    board.line(5, true, true);
    assert_eq!(board.take(), 0x35);
    assert_eq!((board.offers, board.external()), (1, Some(0x35)));
    board.line(5, false, false);
    board.line(7, true, true);
    assert_eq!(board.take(), 0x37);
    assert_eq!(board.external(), None, "an edge is one interrupt");
}

#[test]
fn a_slave_that_shares_the_masters_vectors_still_wants_its_own_end() {
    let mut board = Board::new();
    // Both at 0x30; only the master ends by itself. Input 4 of either is sensed by level, and only the slave's is high.
    let words = [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 0x04),
        (0x21, 0x03),
        (0xa0, 0x11),
        (0xa1, 0x30),
        (0xa1, 0x02),
        (0xa1, 0x01),
    ];
    for (port, value) in
        words
            .into_iter()
            .chain([(0x21, 0), (0xa1, 0), (0x4d0, 0x10), (0x4d1, 0x10)])
    {
        board.outb(port, value);
    }
    board.line(12, true, true);
    assert_eq!(board.take(), 0x34);
    assert_eq!(board.external(), None, "in service");
    board.outb(0xa0, 0x20);
    assert_eq!(board.external(), Some(0x34));
}

#[test]
fn elcr_keeps_the_system_interrupts_edge_triggered() {
    let mut board = Board::new();
    board.outb(0x4d0, 0xff);
    board.outb(0x4d1, 0xff);
    assert_eq!((board.inb(0x4d0), board.inb(0x4d1)), (0xf8, 0xde));
}

#[test]
fn linux_finds_a_working_mask_register() {
    let mut board = Board::new();
    board.outb(0xa1, 0xff);
    board.outb(0x21, 0xfb);
    assert_eq!(board.inb(0x21), 0xfb);
}

#[test]
fn irr_and_isr_are_read_as_ocw3_selects() {
    let mut board = legacy(0x0000);
    board.line(3, true, true);
    board.line(4, true, true);
    board.take();
    board.outb(0x20, 0x0a);
    assert_eq!(board.inb(0x20), 0x10);
    board.outb(0x20, 0x0b);
    assert_eq!(board.inb(0x20), 0x08);
}

#[test]
fn a_poll_is_an_acknowledge() {
    let mut board = legacy(0x0000);
    board.line(6, true, true);
    board.outb(0x20, 0x0c);
    assert_eq!(board.inb(0x20), 0x86);
    assert_eq!(board.external(), None);
    board.outb(0x20, 0x0b);
    assert_eq!(board.inb(0x20), 0x40);
    board.outb(0x20, 0x0c);
    assert_eq!(board.inb(0x20), 0x07, "nothing to poll");
}

#[test]
fn rotation_makes_the_served_input_the_last() {
    let mut board = legacy(0x0000);
    for line in [1, 3, 4] {
        board.line(line, true, true);
    }
    assert_eq!(board.take(), 0x31);
    board.outb(0x20, 0xa0);
    assert_eq!(board.external(), Some(0x33));
    board.outb(0x20, 0xc3);
    assert_eq!(board.external(), Some(0x34), "priority set: 3 is the last");
}

#[test]
fn special_mask_mode_lets_lower_inputs_interrupt() {
    let mut board = legacy(0x0000);
    board.line(1, true, true);
    board.take();
    board.line(5, true, true);
    assert_eq!(board.external(), None);
    board.outb(0x20, 0x68);
    board.outb(0x21, 0x02);
    assert_eq!(board.external(), Some(0x35));
}

#[test]
fn the_cascade_and_the_i_o_apics_pin_2_are_not_line_2() {
    let mut board = legacy(0x0000);
    board.redirect(2, 0x52);
    board.line(2, true, true);
    assert_eq!((board.external(), board.fixed()), (None, None));
}

#[test]
fn lint0_as_a_fixed_vector_sees_the_output_rise() {
    let mut board = legacy(0xfffe);
    board.store(LAPIC + 0x350, 0x77);
    board.pulse(0);
    assert_eq!(board.fixed(), Some(0x77));
}

#[test]
fn lint0_sees_every_pulse_and_no_masked_one() {
    let mut board = legacy(0xfffe);
    board.store(LAPIC + 0x350, 0x400);
    for nmis in 1..4 {
        board.pulse(0);
        assert_eq!(
            (board.nmis, board.external(), board.fixed()),
            (nmis, None, None)
        );
    }
    board.pulse(1);
    board.pulse(8);
    assert_eq!(board.nmis, 3, "masked lines are silent");
}

#[test]
fn lint0_as_a_fixed_vector_comes_again_after_its_end() {
    let mut board = legacy(0xfffe);
    board.store(LAPIC + 0x350, 0x77);
    for _ in 0..3 {
        board.pulse(0);
        assert_eq!(board.take(), 0x77);
        board.store(LAPIC + 0xb0, 0);
    }
}

#[test]
fn an_input_that_stays_high_hides_another_ones_pulse_from_lint0() {
    let mut board = legacy(0x0000);
    board.store(LAPIC + 0x350, 0x400);
    board.line(3, true, true);
    assert_eq!(board.nmis, 1);
    board.pulse(4);
    assert_eq!(board.nmis, 1, "the output is high all the time");
    board.line(3, false, false);
    board.pulse(4);
    assert_eq!(board.nmis, 2);
}

#[test]
fn the_slaves_pulses_reach_lint0_through_the_cascade() {
    let mut board = legacy(0xfefb);
    board.store(LAPIC + 0x350, 0x400);
    board.pulse(8);
    board.pulse(8);
    assert_eq!(board.nmis, 2);
}

#[test]
fn pin_0_passes_the_8259s_on_when_it_says_external() {
    let mut board = legacy(0xfffe);
    board.store(LAPIC + 0x350, 0x1_0700);
    board.redirect(0, 0x700);
    board.pulse(0);
    assert_eq!(board.external(), Some(0x30));
    board.redirect(0, 0x1_0700);
    assert_eq!(board.external(), None);
}

#[test]
fn a_sixteen_bit_access_is_two() {
    use atoll_protocol::fixed::Fixed;
    use atoll_protocol::message::{Body, PortExit};
    let mut board = Board::new();
    board.deliver(Body::PortWrite(Fixed(PortExit {
        port: 0x4d0,
        size: 2,
        value: 0x0c20,
        count: 1,
        ..PortExit::default()
    })));
    assert_eq!((board.inb(0x4d0), board.inb(0x4d1)), (0x20, 0x0c));
    let read = board.deliver(Body::PortRead(Fixed(PortExit {
        port: 0x4d0,
        size: 2,
        count: 1,
        ..PortExit::default()
    })));
    assert_eq!(read.value(), 0x0c20);
}

#[test]
fn the_kernel_hears_when_the_apic_is_switched_off_and_on() {
    use atoll_protocol::effect::Effect;
    use atoll_protocol::fixed::Fixed;
    use atoll_protocol::message::{Body, MsrExit};
    use atoll_protocol::vcpu::SystemRegister;
    let mut board = Board::with_apic();
    for (value, told) in [
        (LAPIC | 0x900, None),
        (LAPIC | 0x100, Some(0)),
        (LAPIC | 0x900, Some(1)),
    ] {
        let exit = MsrExit {
            index: 0x1b,
            value,
            ..MsrExit::default()
        };
        let answer = board.deliver(Body::MsrWrite(Fixed(exit)));
        let heard = answer.effects().iter().find_map(|effect| match effect {
            Effect::System(SystemRegister::ApicEnabled, value) => Some(value.0),
            _ => None,
        });
        assert_eq!(heard, told, "{value:#x}");
    }
}
