//! Turning SVM on, and a VMCB that intercepts what Atoll handles.

use atoll_core::quirks::Quirks;
use atoll_core::vcpu::vmcb::{Control, intercept, vintr};
use core::arch::x86_64::__cpuid;
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

use super::permission;
use crate::cpu::core_id::{CORES, CoreId, PerCore};
use crate::host::exit;
use crate::memory::layout::image_address;
use crate::memory::physical::Physical;

/// VM_CR: bit 4 says that the firmware has switched SVM off.
const VM_CR: u32 = 0xc001_0114;
const SVM_DISABLED: u64 = 1 << 4;
/// Where VMRUN saves the host's state.
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// Bit of CR4 and of CR8 in the intercepts of control registers.
const CR4: u16 = 1 << 4;
const CR8: u16 = 1 << 8;

static HOST_SAVE: PerCore<Physical<[u8; 4096]>> =
    PerCore::new([const { Physical::new([0; 4096]) }; CORES]);

/// CPUID: the last of the extended leaves.
const LAST_EXTENDED: u32 = 0x8000_0000;
/// CPUID: what the processor has; in ECX whether it has SVM.
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const HAS_SVM: u32 = 1 << 2;
/// CPUID: what its SVM has; in EDX whether it has nested paging.
const SVM_FEATURES: u32 = 0x8000_000a;
const HAS_NESTED_PAGING: u32 = 1;

/// Turns SVM on for this core; leaves with a clear line if the processor has none.
pub(crate) fn start(core: CoreId) {
    let offered = __cpuid(LAST_EXTENDED).eax >= SVM_FEATURES
        && __cpuid(EXTENDED_FEATURES).ecx & HAS_SVM != 0
        && __cpuid(SVM_FEATURES).edx & HAS_NESTED_PAGING != 0;
    // SAFETY: the MSR exists where the processor has SVM, which is asked first.
    if !offered || unsafe { Msr::new(VM_CR).read() } & SVM_DISABLED != 0 {
        crate::log!(
            "no AMD SVM with nested paging, or the firmware has switched it off (QEMU: -cpu max or -cpu EPYC,+svm,+npt)"
        );
        exit::exit(exit::HYPERVISOR_FAULT);
    }
    // SAFETY: SVME only makes the SVM instructions legal.
    unsafe { Efer::update(|efer| efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE)) };
    // SAFETY: the page is the core's alone from here on.
    unsafe { Msr::new(VM_HSAVE_PA).write(HOST_SAVE[core].address().0) };
}

/// Fills in what does not change in a vCPU's control area.
pub(crate) fn control(control: &mut Control, quirks: Quirks, nested_root: u64) {
    use intercept::*;
    // CR4: QEMU's TCG answers reserved bits with a bogus exit instead of #GP. CR8: with a virtual interrupt pending, QEMU 7.2 ends
    // itself on it; and a lowered priority must let a held interrupt in at that very instruction.
    control.intercept_cr_writes = CR4 | CR8;
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
    control.msrpm = permission::msrs(quirks).0;
    control.vintr = vintr::MASKING;
    control.nested = 1;
    control.nested_cr3 = nested_root;
}
