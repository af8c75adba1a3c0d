//! Into the guest and back (APM vol. 2 §15.5): the one stretch of the kernel that runs with another world's segments and MSRs.
//!
//! The host's IF at VMRUN decides whether physical interrupts reach the guest: it is set under GIF = 0, so that none arrives before
//! VMRUN itself opens the gate, and cleared again before STGI. VMRUN does not switch FS, GS, TR, LDTR, STAR, LSTAR, KernelGSBase and
//! SYSENTER: VMLOAD and VMSAVE do, for the guest and back for the host.

use atoll_core::vcpu::Vcpu;
use atoll_core::vcpu::debug::Debug;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use x86_64::registers::debug::{DebugAddressRegister as _, Dr0, Dr1, Dr2, Dr3, Dr7};

use crate::cpu::core_id::{CORES, CoreId, PerCore};
use crate::memory::layout::image_address;
use crate::memory::physical::Physical;

/// Each core's half of what VMLOAD switches.
static HOST: PerCore<Physical<[u8; 4096]>> =
    PerCore::new([const { Physical::new([0; 4096]) }; CORES]);

/// Saves what VMLOAD is to restore after each of this vCPU's exits; once it is to run on this core, whose segments and MSRs are final.
pub(crate) fn save_host(core: CoreId, vcpu: &mut Vcpu) {
    vcpu.host_state = HOST[core].address().0;
    // SAFETY: SVM is on, and the page is for this alone.
    unsafe { asm!("vmsave rax", in("rax") vcpu.host_state, options(nostack)) };
}

/// From the general registers to that address.
const HOST_STATE: usize = offset_of!(Vcpu, host_state) - offset_of!(Vcpu, general);

/// The way into the guest and back: with `before`, `vmrun` and `after` in the places where an armed entry differs.
///
/// Not a function of its own, so that the compiler saves what it needs and no more; it cannot be told that RBX and RBP change.
macro_rules! world_switch {
    ([$($before:literal,)*] [$($vmrun:literal,)+] [$($after:literal,)*] $($operand:tt)*) => {
        asm!(
            "push rbx",
            "push rbp",
            $($before,)*
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
            $($vmrun,)+
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
            "mov rax, [rdi + {host_state}]",
            $($after,)*
            "vmload rax",
            "cli",
            "stgi",
            "pop rbp",
            "pop rbx",
            host_state = const HOST_STATE,
            $($operand)*
        )
    };
}

/// Runs the guest until it exits: loads its registers, and saves them again. RAX and RSP are in the VMCB.
#[inline(always)]
pub(crate) fn enter(vcpu: &mut Vcpu) {
    if vcpu.system.debug.is_enabled() {
        return enter_armed(vcpu);
    }
    let vmcb = image_address(&raw const vcpu.vmcb).0;
    // SAFETY: the VMCB and the registers are the vCPU's; HOST was filled by `save_host`; all registers are named or saved.
    unsafe {
        world_switch!(
            [] ["vmrun rax",] []
            inout("rdi") &raw mut vcpu.general => _,
            inout("rax") vmcb => _,
            out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

/// VMRUN between two writes to DR7, whose values lie above the return address: the VMCB's address, and below it what to arm.
#[unsafe(naked)]
extern "sysv64" fn armed_vmrun() {
    naked_asm!(
        "mov rax, [rsp + 16]",
        "mov dr7, rax",
        "mov rax, [rsp + 24]",
        "vmrun rax",
        "mov dr7, rax",
        "ret"
    )
}

/// The host's instructions that run while the guest's breakpoints are in place: at most this many bytes of [`armed_vmrun`].
const ARMED_BYTES: u64 = 32;

/// The same with the guest's breakpoints in the debug registers.
///
/// VMRUN and #VMEXIT switch DR7, and on a processor that is all. QEMU's TCG takes a breakpoint in and out where MOV to DR7 says so, and
/// nowhere else (measured on 7.2), so that it is told right before VMRUN and right behind it. It removes a breakpoint by its type in DR7 as
/// that stands, which is the guest's; and behind VMRUN nothing but RAX is the host's, so that the value which disarms is the VMCB's address:
/// it has no bit below 16.
#[cold]
#[inline(never)]
fn enter_armed(vcpu: &mut Vcpu) {
    let vmcb = image_address(&raw const vcpu.vmcb).0;
    let lingering = vcpu.quirks.keeps_breakpoints;
    let window = (armed_vmrun as *const ()).addr() as u64;
    let window = window..window + ARMED_BYTES;
    let [dr0, dr1, dr2, dr3] = vcpu.system.debug.addresses();
    let armed = vcpu.system.debug.armed(lingering, window);
    vcpu.vmcb.save.dr7 = armed;
    let before = if lingering { armed } else { Debug::DISARMED };
    Dr0::write(dr0);
    Dr1::write(dr1);
    Dr2::write(dr2);
    Dr3::write(dr3);
    // SAFETY: as in `enter`. No breakpoint that `armed` leaves is hit by the host's instructions before they are out again.
    unsafe {
        world_switch!(
            ["push rax", "push rsi",]
            ["call {armed_vmrun}",]
            ["add rsp, 16",]
            inout("rdi") &raw mut vcpu.general => _,
            inout("rax") vmcb => _,
            inout("rsi") before => _,
            armed_vmrun = sym armed_vmrun,
            out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    Dr7::write_raw(Debug::DISARMED);
    // A single step of a guest that has disarmed them is told of no breakpoint by their addresses (QEMU looks at these whatever DR7 says).
    Dr0::write(0);
    Dr1::write(0);
    Dr2::write(0);
    Dr3::write(0);
}
