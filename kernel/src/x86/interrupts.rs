//! What the processor reports: the host's interrupts become events of the core, a server's exceptions end its activation, the kernel's
//! own end the machine.
//!
//! Handlers run with interrupts off, from ring 3 or from the three places in ring 0 where they are on: [`drain`], [`idle`] and around
//! VMRUN. They note and return; what follows from an event is decided by whoever takes it.

use core::arch::asm;

use x86_64::registers::control::Cr2;

use super::entry::Registers;
use super::percore::{Core, HostEvents, Stopped};
use super::{activation, fault, idt, lapic, pic, tsc};

/// How long after a late tick the watchdog looks again, in microseconds.
const WATCHDOG_AGAIN: u64 = 2_000;
/// Vectors below are exceptions.
const EXCEPTIONS: u8 = 32;

/// Called by [`super::entry`] with all that was in the registers.
pub(super) extern "sysv64" fn dispatch(registers: &Registers) {
    let core = Core::current();
    match registers.vector as u8 {
        // It has brought the core back from the guest or from waiting, and that is all that it is for.
        idt::NMI => {}
        vector @ 0..EXCEPTIONS => exception(core, registers, vector),
        vector if (pic::FIRST_VECTOR..pic::FIRST_VECTOR + pic::LINES).contains(&vector) => {
            let irq = vector - pic::FIRST_VECTOR;
            if pic::acknowledge(irq) {
                core.note(1 << irq);
            }
        }
        lapic::TIMER_VECTOR => timer(core, registers),
        lapic::SPURIOUS_VECTOR => {}
        _ => lapic::end_of_interrupt(),
    }
}

fn exception(core: &Core, registers: &Registers, vector: u8) {
    let blamed_on_server = !matches!(vector, idt::DOUBLE_FAULT | idt::MACHINE_CHECK);
    if !registers.in_ring3() || !blamed_on_server {
        fault::report(registers);
    }
    stop(core, registers)
}

fn timer(core: &Core, registers: &Registers) {
    lapic::end_of_interrupt();
    core.note(HostEvents::TIMER);
    if registers.in_ring3() && core.watchdog_tick(tsc::now(), tsc::span_of_micros(WATCHDOG_AGAIN)) {
        stop(core, registers);
    }
}

/// Keeps what the server was doing, and goes back to whoever activated it.
fn stop(core: &Core, registers: &Registers) -> ! {
    *core.last.lock() = Some(Stopped {
        registers: *registers,
        cr2: Cr2::read_raw(),
    });
    activation::stop(core)
}

/// Lets interrupts in that have been waiting.
#[inline(always)]
pub(crate) fn drain() {
    // SAFETY: the handlers change nothing but the core's events; the NOP is the shadow of STI.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
}

/// Waits for an interrupt. Whoever calls has looked for events before, with interrupts off; none is lost in between.
pub(crate) fn idle() {
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
}
