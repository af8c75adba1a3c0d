//! An activation: into ring 3 with a message, and back with an answer.
//!
//! This is on the path of every exit, so that it saves nothing of the server's: a fresh activation needs no context, and an answer leaves
//! none. What the kernel still needs stays on its stack, whose pointer stays in [`Core`]. CR3 stays the server's, since the
//! kernel's half is the same in all spaces, and is loaded where the core has not loaded that very [`Generation`]. AMD APM vol. 2 §6.1.1 (SYSCALL, SYSRET).

use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use atoll_core::machine::Outcome;
use atoll_protocol::PAGE;
use atoll_protocol::fault::Reason;
use x86_64::structures::idt::ExceptionVector;

use super::per_core::{Core, Stopped};
use crate::host::lapic;
use crate::memory::space::{self, Generation, Loaders, Space};

/// What [`leave`] gives in the place of an answer; a server that answers with it is told apart by [`Core::stopped`].
const NO_ANSWER: u64 = u64::MAX;

/// Where an activation begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The server's address space, from [`Space::cr3`], and its [`Generation`].
    cr3: u64,
    generation: u64,
    stack: u64,
    entry: u64,
}

impl Target {
    /// Nowhere: for slots without a server.
    pub(crate) const NONE: Target = Target {
        cr3: 0,
        generation: Generation::KERNEL.0,
        stack: 0,
        entry: 0,
    };

    /// Into `space` as it is now, at `entry`, an address in the servers' half. The target is out of date when the space changes or goes.
    pub(crate) fn new(space: &Space, stack_top: u64, entry: u64) -> Self {
        // As after a call.
        Target {
            cr3: space.cr3(),
            generation: space.generation().0,
            stack: stack_top - 8,
            entry,
        }
    }

    /// The entry point.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }
}

impl Core {
    /// Runs a server until it answers or is stopped. It gets the message's length, and how much of guest memory, of the bundle and of its
    /// vault is mapped, in RDI, RSI, RDX and R8 (SYSRET needs RCX); the stack is as after a call.
    #[inline(always)]
    pub(crate) fn activate(
        &self,
        target: &Target,
        message: u64,
        guest: u64,
        bundle: u64,
        vault: u64,
    ) -> Outcome {
        match enter(target, message, guest, bundle, vault) {
            // One comparison with the one that the core makes for a usual answer: nothing that was stopped is as short.
            answer if answer <= PAGE as u64 => Outcome::Answer(answer),
            NO_ANSWER if let Some(reason) = self.stopped_by() => Outcome::Fault(reason),
            answer => Outcome::Answer(answer),
        }
    }

    /// What stopped the activation, if it did not end by itself; forgets it.
    #[cold]
    fn stopped_by(&self) -> Option<Reason> {
        let stopped = self.stopped.swap(false, Ordering::Relaxed);
        let Stopped { registers, cr2 } = self.last_stopped().filter(|_| stopped)?;
        Some(match registers.vector as u8 {
            lapic::TIMER_VECTOR => Reason::Hang,
            vector if vector == ExceptionVector::Page as u8 => Reason::Exception {
                vector,
                error: registers.error as u32,
                address: cr2,
            },
            vector => Reason::Exception {
                vector,
                error: registers.error as u32,
                address: 0,
            },
        })
    }
}

/// All of the cores: there is one.
impl Loaders for Core {
    fn unload(&self) {
        space::load_kernel();
        self.loaded.store(Generation::KERNEL.0, Ordering::Relaxed);
    }
}

/// Into ring 3, on this core; comes back through [`answer`] or [`leave`] with what the server left in RDI.
///
/// Not a function of its own, so that the compiler saves what it needs and no more; it cannot be told that RBX and RBP change.
#[inline(always)]
fn enter(target: &Target, message: u64, guest: u64, bundle: u64, vault: u64) -> u64 {
    let left: u64;
    // SAFETY: the target is a server's address space, with the kernel's half as here; `answer` and `leave` come back to label 3 with the
    // stack as it was, and every register that a server can change is named or saved.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "lea rax, [rip + 3f]",
            "push rax",
            "mov gs:[{kernel_rsp}], rsp",
            "mov rax, [r9 + {generation}]",
            "cmp gs:[{loaded}], rax",
            "je 2f",
            "mov gs:[{loaded}], rax",
            "mov rax, [r9 + {cr3}]",
            "mov cr3, rax",
            "2:",
            "mov rsp, [r9 + {stack}]",
            "mov rcx, [r9 + {entry}]",
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
            "3:",
            "pop rbp",
            "pop rbx",
            kernel_rsp = const offset_of!(Core, kernel_rsp),
            loaded = const offset_of!(Core, loaded),
            generation = const offset_of!(Target, generation),
            cr3 = const offset_of!(Target, cr3),
            stack = const offset_of!(Target, stack),
            entry = const offset_of!(Target, entry),
            inout("rdi") message => left,
            inout("rsi") guest => _,
            inout("rdx") bundle => _,
            inout("r8") vault => _,
            inout("r9") target => _,
            out("rax") _, out("rcx") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    left
}

/// Where SYSCALL comes in, still on the server's stack.
#[unsafe(naked)]
extern "sysv64" fn answer() {
    naked_asm!("swapgs", "mov rsp, gs:[{kernel_rsp}]", "ret", kernel_rsp = const offset_of!(Core, kernel_rsp))
}

/// Ends the activation from a handler that came from ring 3: whatever is on the handler's stack is forgotten.
#[unsafe(naked)]
extern "sysv64" fn leave(answer: u64) -> ! {
    naked_asm!("mov rsp, gs:[{kernel_rsp}]", "ret", kernel_rsp = const offset_of!(Core, kernel_rsp))
}

/// Ends the activation without an answer.
pub(super) fn stop(core: &Core) -> ! {
    core.stopped.store(true, Ordering::Relaxed);
    leave(NO_ANSWER)
}

/// For LSTAR.
pub(super) fn answer_entry() -> u64 {
    (answer as *const ()).addr() as u64
}
