//! What a server or the kernel was doing when an interrupt or an exception came: as [`super::entry`] leaves it on the stack. AMD APM vol. 2
//! §8.9.3 (64-bit interrupt stack frame).

use x86_64::PrivilegeLevel::Ring3;
use x86_64::structures::idt::InterruptStackFrameValue;

/// All that was in the registers, as the entry pushes it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    /// R15 down to R8.
    pub(crate) r15_to_r8: [u64; 8],
    /// Frame pointer.
    pub(crate) rbp: u64,
    /// General register.
    pub(crate) rdi: u64,
    /// General register.
    pub(crate) rsi: u64,
    /// General register.
    pub(crate) rdx: u64,
    /// General register.
    pub(crate) rcx: u64,
    /// General register.
    pub(crate) rbx: u64,
    /// General register.
    pub(crate) rax: u64,
    /// Vector.
    pub(crate) vector: u64,
    /// Error code; 0 where there is none.
    pub(crate) error: u64,
    /// Where it happened, pushed by the processor.
    pub(crate) frame: InterruptStackFrameValue,
}

impl Registers {
    /// It happened in a server.
    pub(crate) fn in_ring3(&self) -> bool {
        self.frame.code_segment.rpl() == Ring3
    }
}
