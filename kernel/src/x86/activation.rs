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

/// Where an activation begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The server's address space, from [`Space::cr3`].
    cr3: u64,
    stack_top: u64,
    entry: u64,
}

impl Target {
    /// Nowhere: for slots without a server.
    pub(crate) const NONE: Target = Target { cr3: 0, stack_top: 0, entry: 0 };

    /// Into `space` at `entry`, an address in the servers' half. The space must outlive the target's last use.
    pub(crate) fn new(space: &Space, stack_top: u64, entry: u64) -> Self {
        Target { cr3: space.cr3(), stack_top, entry }
    }
}

impl Core {
    /// Runs a server until it answers or is stopped. It gets the message's length, and how much of guest memory, of the bundle and of its
    /// vault is mapped, in RDI, RSI, RDX and R8 (SYSRET needs RCX); the stack is as after a call.
    #[inline(always)]
    pub(crate) fn activate(&self, target: &Target, message: u64, guest: u64, bundle: u64, vault: u64) -> Outcome {
        let left = enter(message, guest, bundle, target, vault);
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
extern "sysv64" fn enter(message: u64, guest: u64, bundle: u64, target: &Target, vault: u64) -> Left {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{kernel_rsp}], rsp",
        "mov r9, [rcx + {cr3}]",
        "mov rax, cr3",
        "cmp rax, r9",
        "je 2f",
        "mov cr3, r9",
        "2:",
        "mov rsp, [rcx + {stack_top}]",
        "sub rsp, 8",
        "mov rcx, [rcx + {entry}]",
        "mov r11d, 0x202", // interrupts on
        "xor eax, eax",
        "xor ebx, ebx",
        "xor ebp, ebp",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "swapgs",
        "sysretq",
        kernel_rsp = const offset_of!(Core, kernel_rsp),
        cr3 = const offset_of!(Target, cr3),
        stack_top = const offset_of!(Target, stack_top),
        entry = const offset_of!(Target, entry),
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
