//! An activation: into ring 3 with a message, and back with an answer.
//!
//! This is on the path of every exit, so that it saves nothing of the server's: a fresh activation needs no context, and an answer leaves
//! none. The kernel's callee-saved registers stay on its stack, whose pointer stays in [`Core`]. CR3 stays the server's, since the
//! kernel's half is the same in all spaces. AMD APM vol. 2 §6.1.1 (SYSCALL, SYSRET).

use core::arch::naked_asm;
use core::mem::offset_of;

use super::percore::Core;
use crate::memory::space::Space;

/// How an activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the system call: what was in RDI.
    Answer(u64),
    /// With an exception; the registers are in [`Core::last_stopped`].
    Exception {
        /// Which.
        vector: u8,
        /// Its error code, or 0.
        error: u64,
        /// The address, for a page fault.
        cr2: u64,
    },
    /// Not at all: stopped by the watchdog; the registers are in [`Core::last_stopped`].
    Hang,
}

/// How ring 3 was left, in RAX; the answer is in RDX.
#[repr(C)]
struct Left {
    how: u64,
    value: u64,
}

/// [`Left::how`]: by SYSCALL.
const BY_ANSWER: u64 = 0;
/// [`Left::how`]: by an exception.
pub(super) const BY_EXCEPTION: u64 = 1;
/// [`Left::how`]: by the watchdog.
pub(super) const BY_WATCHDOG: u64 = 2;

impl Core {
    /// Runs a server at `entry`, an address in the servers' half, until it answers or is stopped. `message` and `length` go to RDI and
    /// RSI; the stack is as after a call.
    #[inline(always)]
    pub(crate) fn activate(&self, space: &Space, entry: u64, stack_top: u64, message: u64, length: u64) -> Outcome {
        let left = enter(message, length, space.cr3(), stack_top, entry);
        if left.how == BY_ANSWER { Outcome::Answer(left.value) } else { self.stopped(left.how) }
    }

    #[cold]
    fn stopped(&self, how: u64) -> Outcome {
        let stopped = self.last_stopped();
        match how {
            BY_WATCHDOG => Outcome::Hang,
            _ => Outcome::Exception { vector: stopped.registers.vector as u8, error: stopped.registers.error, cr2: stopped.cr2 },
        }
    }
}

/// Into ring 3, on this core; comes back through [`answer`] or [`leave`].
#[unsafe(naked)]
extern "sysv64" fn enter(message: u64, length: u64, cr3: u64, stack_top: u64, entry: u64) -> Left {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{kernel_rsp}], rsp",
        "mov rax, cr3",
        "cmp rax, rdx",
        "je 2f",
        "mov cr3, rdx",
        "2:",
        "lea rsp, [rcx - 8]",
        "mov rcx, r8",
        "mov r11d, 0x202", // interrupts on
        "xor eax, eax",
        "xor ebx, ebx",
        "xor edx, edx",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "swapgs",
        "sysretq",
        kernel_rsp = const offset_of!(Core, kernel_rsp),
    )
}

/// Where SYSCALL comes in, still on the server's stack.
#[unsafe(naked)]
extern "sysv64" fn answer() {
    naked_asm!(
        "swapgs",
        "mov rsp, gs:[{kernel_rsp}]",
        "mov rdx, rdi",
        "xor eax, eax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        kernel_rsp = const offset_of!(Core, kernel_rsp),
    )
}

/// Ends the activation from a handler that came from ring 3: whatever is on the handler's stack is forgotten.
#[unsafe(naked)]
pub(super) extern "sysv64" fn leave(how: u64) -> ! {
    naked_asm!(
        "mov rsp, gs:[{kernel_rsp}]",
        "mov rax, rdi",
        "xor edx, edx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        kernel_rsp = const offset_of!(Core, kernel_rsp),
    )
}

/// For LSTAR.
pub(super) fn answer_entry() -> u64 {
    (answer as *const ()).addr() as u64
}
