//! An interrupt that waits until the guest can take it.
//!
//! The serial port holds its line; the 8259, in automatic end-of-interrupt mode with that line level-triggered, asks again as soon as
//! its last request was acknowledged. So there is always an interrupt pending, and each `cli; nop; sti; nop` opens the window once: the
//! vector is injected after the `nop` in the shadow of `sti`. The handler counts and returns with interrupts off, or the line, being
//! held, would let nothing but itself run.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;
use x86_64::structures::idt::InterruptDescriptorTable;

use super::measure::{ALL, Figure, figure, ticks_of};

/// Interrupt 4 with the 8259 at 0x20.
const VECTOR: u8 = 0x24;
/// Interrupt 4 among the first eight.
const LINE: u8 = 1 << 4;

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Counts, and goes back with IF clear.
#[unsafe(naked)]
extern "C" fn handler() {
    naked_asm!("inc qword ptr [{taken}]", "and qword ptr [rsp + 16], ~0x200", "iretq", taken = sym TAKEN)
}

/// What taking the interrupt adds to the loop's four instructions: the handler's three included.
pub fn window() -> Figure {
    let mut table = InterruptDescriptorTable::new();
    // SAFETY: the handler is made for being entered by a gate.
    unsafe { table[VECTOR].set_handler_addr(VirtAddr::new(handler as *const () as u64)) };
    // SAFETY: interrupts are off when the table goes.
    unsafe { table.load_unsafe() };
    set_up_controller();
    // SAFETY: with no line held nothing happens.
    let round = || unsafe { ticks_of!("cli; nop; sti; nop", 0, 0, 0, 0) };
    round();
    let empty = round();
    interrupts::disable();
    hold_line(true);
    let measured = figure("window", empty, |_| round());
    interrupts::disable();
    hold_line(false);
    let taken = TAKEN.load(Ordering::Relaxed);
    assert!(taken == ALL as u64, "{taken} interrupts in {ALL} rounds");
    measured
}

/// Both 8259: initialised, the first at 0x20 with automatic end of interrupt, only interrupt 4 unmasked, and that by level.
fn set_up_controller() {
    let writes = [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 0x04),
        (0x21, 0x03), // four words; the fourth: 8086 mode, automatic EOI
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 0x02),
        (0xa1, 0x01),
        (0x21, !LINE),
        (0xa1, 0xff),
        (0x4d0, LINE),
        (0x4d1, 0),
    ];
    for (port, value) in writes {
        // SAFETY: the controllers are this probe's, and interrupts are off.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}

/// The serial port's transmitter is empty: with its interrupt enabled, and OUT2, it holds the line.
fn hold_line(held: bool) {
    let writes = if held {
        [(0x3fc, 0x08_u8), (0x3f9, 0x02)]
    } else {
        [(0x3f9, 0x00), (0x3fc, 0x00)]
    };
    for (port, value) in writes {
        // SAFETY: nobody else uses the serial port now.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}
