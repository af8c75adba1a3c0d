//! Control registers and model-specific registers, as the kernel keeps them from boot on.
//!
//! A bit is only set where CPUID offers it: TCG answers a reserved bit in CR4 with a bogus #VMEXIT instead of #GP. AMD APM vol. 2 §3.1,
//! §6.1.1 (SYSCALL), §5.6.

use core::arch::x86_64::__cpuid_count;

use x86_64::VirtAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

use super::{activation, gdt};

/// CPUID leaf 1, EDX.
const HAS_FXSR: u32 = 1 << 24;
/// CPUID leaf 1, ECX.
const HAS_XSAVE: u32 = 1 << 26;
/// CPUID leaf 7, EBX.
const HAS_SMEP: u32 = 1 << 7;
const HAS_SMAP: u32 = 1 << 20;
/// CPUID leaf 7, ECX.
const HAS_UMIP: u32 = 1 << 2;

/// Sets this core's registers.
pub(crate) fn start() {
    // Ring 3 has no FPU (TS), but the guest does: its state is in the registers, so that saving must be enabled.
    let cr0 = Cr0Flags::PAGING
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::TASK_SWITCHED
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::PROTECTED_MODE_ENABLE;
    // SAFETY: paging and protection stay on; the kernel uses no FPU, and writes no read-only page.
    unsafe { Cr0::write_raw(cr0.bits()) };

    let basic_leaves = __cpuid_count(0, 0).eax;
    let basic = __cpuid_count(1, 0);
    let (ebx, ecx) = if basic_leaves >= 7 {
        (__cpuid_count(7, 0).ebx, __cpuid_count(7, 0).ecx)
    } else {
        (0, 0)
    };
    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::TIMESTAMP_DISABLE;
    for (offered, flags) in [
        (
            basic.edx & HAS_FXSR != 0,
            Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE,
        ),
        (basic.ecx & HAS_XSAVE != 0, Cr4Flags::OSXSAVE),
        (
            ebx & HAS_SMEP != 0,
            Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
        ),
        (
            ebx & HAS_SMAP != 0,
            Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION,
        ),
        (
            ecx & HAS_UMIP != 0,
            Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION,
        ),
    ] {
        cr4.set(flags, offered);
    }
    // SAFETY: PAE stays on; the kernel touches no page of ring 3 by its own address, nor runs one.
    unsafe { Cr4::write_raw(cr4.bits()) };

    let efer = EferFlags::SYSTEM_CALL_EXTENSIONS
        | EferFlags::LONG_MODE_ENABLE
        | EferFlags::NO_EXECUTE_ENABLE;
    // SAFETY: long mode and NX stay on; SYSCALL's registers are set below, before any ring 3.
    unsafe { Efer::write_raw(efer.bits()) };

    Star::write(
        gdt::USER_CODE,
        gdt::USER_DATA,
        gdt::KERNEL_CODE,
        gdt::KERNEL_DATA,
    )
    .expect("order of the GDT");
    LStar::write(VirtAddr::new(activation::answer_entry()));
    // The flags are ring 3's: none of them comes in with SYSCALL.
    SFMask::write(RFlags::all());
}
