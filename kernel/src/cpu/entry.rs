//! The way in for every interrupt and exception: all registers on the stack, then [`interrupts::dispatch`](super::interrupts).
//!
//! One path for all, also those that can come between SYSCALL and its SWAPGS: what tells whether GS is the kernel's is the base itself,
//! since ring 3 cannot make it an address of the upper half (CR4.FSGSBASE is clear). RFLAGS is cleared because ring 3 may have set AC,
//! which would lift SMAP. AMD APM vol. 2 §8.9.3 (64-bit interrupt stack frame).

use core::arch::global_asm;

/// Bytes from one stub to the next.
const STUB_SIZE: u64 = 16;

// SAFETY: the assembly below defines this symbol; only its address is used.
unsafe extern "C" {
    static interrupt_stubs: u8;
}

/// Address of a vector's stub.
pub(super) fn stub(vector: u8) -> u64 {
    (&raw const interrupt_stubs).addr() as u64 + u64::from(vector) * STUB_SIZE
}

global_asm!(
    r#"
    .text
    .balign 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    // Vectors with an error code: 8, 10 to 14, 17, 21, 29, 30.
    .if (vector < 32) && ((0x60227d00 >> (vector & 31)) & 1)
    .else
    push 0
    .endif
    push vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

    .balign 16
interrupt_common:
    .irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    push \register
    .endr
    push 2
    popfq
    xor ebx, ebx
    mov ecx, 0xc0000101             // GS.base
    rdmsr
    test edx, edx
    js 1f
    swapgs
    inc ebx
1:  mov rdi, rsp
    call {dispatch}
    test ebx, ebx
    jz 2f
    swapgs
2:
    .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
    pop \register
    .endr
    add rsp, 16
    iretq
"#,
    dispatch = sym super::interrupts::dispatch,
);
