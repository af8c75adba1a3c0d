//! Turning SVM on, and a VMCB that intercepts what Atoll handles.

use atoll_core::vcpu::vmcb::{Control, intercept, vintr};
use core::arch::x86_64::__cpuid;
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use super::permission;
use crate::host::exit;
use crate::memory::layout::image_address;
use crate::memory::physical::Physical;

/// VM_CR: bit 4 says that the firmware has switched SVM off.
const VM_CR: u32 = 0xc001_0114;
const SVM_DISABLED: u64 = 1 << 4;
/// Where VMRUN saves the host's state.
const VM_HSAVE_PA: u32 = 0xc001_0117;

static HOST_SAVE: Physical<[u8; 4096]> = Physical::new([0; 4096]);

/// Turns SVM on; leaves with a clear line if the processor has none.
pub(crate) fn start() {
    let extended = __cpuid(0x8000_0000).eax;
    let offered = extended >= 0x8000_000a
        && __cpuid(0x8000_0001).ecx & 1 << 2 != 0
        && __cpuid(0x8000_000a).edx & 1 != 0;
    // SAFETY: the MSR exists where the processor has SVM, which is asked first.
    if !offered || unsafe { Msr::new(VM_CR).read() } & SVM_DISABLED != 0 {
        crate::log!(
            "no AMD SVM with nested paging, or the firmware has switched it off (QEMU: -cpu max or -cpu EPYC,+svm,+npt)"
        );
        exit::exit(exit::HYPERVISOR_FAULT);
    }
    // SAFETY: SVME only makes the SVM instructions legal.
    unsafe { Efer::update(|efer| efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE)) };
    // SAFETY: the page is the processor's alone from here on.
    unsafe { Msr::new(VM_HSAVE_PA).write(HOST_SAVE.address().0) };
}

/// Fills in what does not change in a vCPU's control area.
pub(crate) fn control(control: &mut Control, nested_root: u64) {
    use intercept::*;
    // CR4: QEMU's TCG answers reserved bits with a bogus exit instead of #GP. CR8: with a virtual interrupt pending, QEMU 7.2 ends
    // itself on it; and a lowered priority must let a held interrupt in at that very instruction.
    control.intercept_cr_writes = 1 << 4 | 1 << 8;
    control.intercept_dr_reads = DEBUG_REGISTERS;
    control.intercept_dr_writes = DEBUG_REGISTERS;
    // #DB and #AC: a guest whose delivery of one raises it again would never exit (CVE-2015-8104, CVE-2015-5307).
    control.intercept_exceptions = 1 << DEBUG | 1 << ALIGNMENT | 1 << MACHINE_CHECK;
    control.intercepts1 = CR0_SELECTIVE_WRITE
        | INTR
        | NMI
        | INIT
        | RDPMC
        | CPUID
        | RSM
        | INVD
        | HLT
        | INVLPGA
        | IOIO
        | MSR
        | SHUTDOWN;
    control.intercepts2 = SVM | MWAIT | XSETBV;
    control.iopm = image_address(&raw const permission::PORTS).0;
    control.msrpm = permission::msrs().0;
    control.asid = 1;
    control.tlb_control = 1;
    control.vintr = vintr::MASKING;
    control.nested = 1;
    control.nested_cr3 = nested_root;
}
