//! What the processor reports: the host's interrupts become events of the core, a server's exceptions end its activation, the kernel's
//! own end the machine.
//!
//! Handlers run with interrupts off, from ring 3 or from the three places in ring 0 where they are on: [`drain`], [`idle`] and around
//! VMRUN. They note and return; what follows from an event is decided by whoever takes it.

use x86_64::instructions;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::ExceptionVector;

use super::per_core::{Core, HostEvents, Stopped};
use super::registers::Registers;
use super::{activation, fault};
use crate::host::{lapic, pic, tsc};

/// How long after a late tick the watchdog looks again, in microseconds.
const WATCHDOG_AGAIN: u64 = 2_000;
/// Vectors below are exceptions.
const EXCEPTIONS: u8 = 32;

/// Called by [`super::entry`] with all that was in the registers.
pub(super) extern "sysv64" fn dispatch(registers: &Registers) {
    let core = Core::current();
    match registers.vector as u8 {
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
    match ExceptionVector::try_from(vector) {
        // It has brought the core back from the guest or from waiting, and that is all that it is for.
        Ok(ExceptionVector::NonMaskableInterrupt) => {}
        // No server's fault, wherever the core was.
        Ok(ExceptionVector::Double | ExceptionVector::MachineCheck) => fault::report(registers),
        _ if registers.in_ring3() => stop(core, registers),
        _ => fault::report(registers),
    }
}

fn timer(core: &Core, registers: &Registers) {
    lapic::end_of_interrupt();
    core.note(HostEvents::TIMER);
    if registers.in_ring3() && watchdog(core) {
        stop(core, registers);
    }
}

/// True if the activation hangs, else the timer is armed for the next look.
fn watchdog(core: &Core) -> bool {
    let (now, later) = (tsc::now(), tsc::span_of_micros(WATCHDOG_AGAIN));
    let deadline = core.deadline();
    if now < deadline {
        lapic::arm(deadline.since(now));
        return false;
    }
    lapic::arm(later);
    core.hangs(now, later)
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
    instructions::interrupts::enable();
    instructions::nop(); // the shadow of STI
    instructions::interrupts::disable();
}

/// Waits for an interrupt. Whoever calls has looked for events before, with interrupts off; none is lost in between.
pub(crate) fn idle() {
    instructions::interrupts::enable_and_hlt();
    instructions::interrupts::disable();
}
