//! Into the guest and back (APM vol. 2 §15.5): the one stretch of the kernel that runs with another world's segments and MSRs.
//!
//! The host's IF at VMRUN decides whether physical interrupts reach the guest: it is set under GIF = 0, so that none arrives before
//! VMRUN itself opens the gate, and cleared again before STGI. VMRUN does not switch FS, GS, TR, LDTR, STAR, LSTAR, KernelGSBase and
//! SYSENTER: VMLOAD and VMSAVE do, for the guest and back for the host.

use atoll_core::vcpu::Vcpu;
use core::arch::asm;

use crate::memory::physical::{self, Physical};

/// The host's half of what VMLOAD switches.
static HOST: Physical<[u8; 4096]> = Physical::new([0; 4096]);

/// Saves what VMLOAD is to restore after each exit; once, when segments and MSRs are final.
pub(crate) fn save_host() {
    // SAFETY: SVM is on, and the page is for this alone.
    unsafe { asm!("vmsave rax", in("rax") HOST.address().0, options(nostack)) };
}

/// Runs the guest until it exits: loads its registers, and saves them again. RAX and RSP are in the VMCB.
///
/// Not a function of its own, so that the compiler saves what it needs and no more; it cannot be told that RBX and RBP change.
#[inline(always)]
pub(crate) fn enter(vcpu: &mut Vcpu) {
    let vmcb = physical::address(&raw const vcpu.vmcb).0;
    // SAFETY: the VMCB and the registers are the vCPU's; HOST was filled by `save_host`; all registers are named or saved.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rdx",
            "push rdi",
            "mov rcx, [rdi + 8]",
            "mov rdx, [rdi + 16]",
            "mov rbx, [rdi + 24]",
            "mov rbp, [rdi + 40]",
            "mov rsi, [rdi + 48]",
            "mov r8, [rdi + 64]",
            "mov r9, [rdi + 72]",
            "mov r10, [rdi + 80]",
            "mov r11, [rdi + 88]",
            "mov r12, [rdi + 96]",
            "mov r13, [rdi + 104]",
            "mov r14, [rdi + 112]",
            "mov r15, [rdi + 120]",
            "mov rdi, [rdi + 56]",
            "clgi",
            "sti",
            "vmload rax",
            "vmrun rax",
            "vmsave rax",
            "xchg rdi, [rsp]",
            "mov [rdi + 8], rcx",
            "mov [rdi + 16], rdx",
            "mov [rdi + 24], rbx",
            "mov [rdi + 40], rbp",
            "mov [rdi + 48], rsi",
            "mov [rdi + 64], r8",
            "mov [rdi + 72], r9",
            "mov [rdi + 80], r10",
            "mov [rdi + 88], r11",
            "mov [rdi + 96], r12",
            "mov [rdi + 104], r13",
            "mov [rdi + 112], r14",
            "mov [rdi + 120], r15",
            "pop rax",
            "mov [rdi + 56], rax",
            "pop rax",
            "vmload rax",
            "cli",
            "stgi",
            "pop rbp",
            "pop rbx",
            inout("rdi") &raw mut vcpu.general => _,
            inout("rax") vmcb => _,
            inout("rdx") HOST.address().0 => _,
            out("rcx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}
