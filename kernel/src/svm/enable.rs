//! Turning SVM on, and a VMCB that intercepts what Atoll handles.

use atoll_core::vcpu::vmcb::{Control, intercept, vintr};
use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use super::permission;
use crate::boot::KERNEL_BASE;
use crate::x86::exit;

/// VM_CR: bit 4 says that the firmware has switched SVM off.
const VM_CR: u32 = 0xc001_0114;
const SVM_DISABLED: u64 = 1 << 4;
/// Where VMRUN saves the host's state.
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// A page for the processor's own use: written behind the compiler's back.
#[repr(C, align(4096))]
pub(super) struct Area(UnsafeCell<[u8; 4096]>);

// SAFETY: only the processor touches its content, through a physical address.
unsafe impl Sync for Area {}

impl Area {
    /// Empty.
    pub(super) const fn new() -> Area {
        Area(UnsafeCell::new([0; 4096]))
    }

    /// Where it is.
    pub(super) fn physical(&self) -> u64 {
        physical(self.0.get())
    }
}

static HOST_SAVE: Area = Area::new();

/// Physical address of something in the kernel's image.
pub(crate) fn physical<T>(at: *const T) -> u64 {
    at.addr() as u64 - KERNEL_BASE
}

/// Turns SVM on; leaves with a clear line if the processor has none.
pub(crate) fn start() {
    let extended = __cpuid(0x8000_0000).eax;
    let has_svm = extended >= 0x8000_000a && __cpuid(0x8000_0001).ecx & 1 << 2 != 0;
    // SAFETY: the MSR exists where the processor has SVM, which is asked first.
    if !has_svm || unsafe { Msr::new(VM_CR).read() } & SVM_DISABLED != 0 {
        crate::log!("this processor has no AMD SVM, or the firmware has switched it off (QEMU: -cpu max or -cpu EPYC,+svm,+npt)");
        exit::exit(exit::HYPERVISOR_FAULT);
    }
    if __cpuid(0x8000_000a).edx & 1 == 0 {
        crate::log!("this processor has no nested paging (QEMU: -cpu max or -cpu EPYC,+svm,+npt)");
        exit::exit(exit::HYPERVISOR_FAULT);
    }
    // SAFETY: SVME only makes the SVM instructions legal.
    unsafe { Efer::update(|efer| efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE)) };
    // SAFETY: the page is the processor's alone from here on.
    unsafe { Msr::new(VM_HSAVE_PA).write(HOST_SAVE.physical()) };
}

/// Fills in what does not change in a vCPU's control area.
pub(crate) fn control(control: &mut Control, nested_root: u64) {
    use intercept::*;
    // CR4: QEMU's TCG answers reserved bits with a bogus exit instead of #GP. CR8: with a virtual interrupt pending, QEMU 7.2 ends
    // itself on it; and a lowered priority must let a held interrupt in at that very instruction.
    control.intercept_cr_writes = 1 << 4 | 1 << 8;
    control.intercept_exceptions = 1 << 18;
    control.intercepts1 = INTR | NMI | INIT | RDPMC | CPUID | RSM | INVD | HLT | INVLPGA | IOIO | MSR | SHUTDOWN;
    control.intercepts2 = SVM | MWAIT | XSETBV;
    control.iopm = permission::ports();
    control.msrpm = permission::msrs();
    control.asid = 1;
    control.tlb_control = 1;
    control.vintr = vintr::MASKING;
    control.nested = 1;
    control.nested_cr3 = nested_root;
}
