//! The rogue's own ways out of the language: the bytes of the answer page, and the system call with whatever length it likes.

use core::arch::asm;

use atoll_protocol::PAGE;
use atoll_protocol::layout::ANSWER;

/// The answer page.
pub(crate) fn page() -> &'static mut [u8] {
    // SAFETY: the page is mapped, and the activation never comes back to the SDK, whose reference to it ends here.
    unsafe { core::slice::from_raw_parts_mut(ANSWER as *mut u8, PAGE) }
}

/// Ends the activation.
pub(crate) fn answer(length: u64) -> ! {
    // SAFETY: the kernel never returns from it: no register or memory matters afterwards.
    unsafe { asm!("syscall", in("rdi") length, options(noreturn, nostack)) }
}

/// Ends the activation with as much set as ring 3 can set: the stack pointer in the kernel's half, the direction, alignment-check and
/// nested-task flags, and a segment register.
pub(crate) fn answer_in_disorder(length: u64) -> ! {
    // SAFETY: as `answer`; nothing uses the stack once its pointer is gone.
    unsafe {
        asm!(
            "push 0x44602", // AC, NT, DF, IF
            "popfq",
            "mov gs, ax",
            "mov rsp, -4096",
            "mov rbp, rsp",
            "syscall",
            in("ax") 0x23,
            in("rdi") length,
            options(noreturn),
        )
    }
}

/// Reads eight bytes.
pub(crate) fn read(address: u64) {
    // SAFETY: that this is not safe is what it is for; it either faults or changes nothing.
    unsafe {
        asm!("mov {value}, [{address}]", address = in(reg) address, value = out(reg) _, options(nostack, readonly))
    };
}

/// Writes eight bytes.
pub(crate) fn write(address: u64) {
    // SAFETY: that this is not safe is what it is for; if it does not fault, the test that asked for it fails.
    unsafe { asm!("mov qword ptr [{address}], -1", address = in(reg) address, options(nostack)) };
}

/// Runs what is there: a `ret`, if it was possible to put one there.
pub(crate) fn execute(address: u64) {
    // SAFETY: that this is not safe is what it is for; if it does not fault, a `ret` comes back from there.
    unsafe { asm!("call {address}", address = in(reg) address, clobber_abi("sysv64")) };
}
