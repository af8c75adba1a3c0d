//! Taking more than there is: time, stack.

use core::arch::asm;

misdeeds! {
    /// Taking too much.
    Time {
        /// Never answers.
        EndlessLoop,
        /// Answers within the longest activation, but beyond the run time per period.
        SlowAnswer,
        /// Pushes until the stack is full.
        StackOverflow,
        /// Panics.
        Panic,
    }
}

/// Turns of two instructions each: 40 ms where an instruction is a nanosecond.
const SLOW: u64 = 20_000_000;

impl Time {
    pub(crate) fn commit(self) {
        match self {
            Time::EndlessLoop => {
                // SAFETY: it touches nothing.
                unsafe { asm!("2: jmp 2b", options(nomem, nostack, noreturn)) }
            }
            Time::SlowAnswer => {
                // SAFETY: it counts a register down.
                unsafe {
                    asm!("2: dec {0}", "jnz 2b", inout(reg) SLOW => _, options(nomem, nostack))
                }
            }
            Time::StackOverflow => {
                // SAFETY: it ends at the guard page; if there is none, it never comes back and is found out as a hang.
                unsafe { asm!("2: push 0", "jmp 2b", options(noreturn)) }
            }
            Time::Panic => panic!("on purpose"),
        }
    }
}
