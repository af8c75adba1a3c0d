//! What is known of the processor by its name. [`svm::probe`](crate::svm::probe) tries the rest.

use core::arch::x86_64::__cpuid;

use atoll_core::quirks::Quirks;

/// CPUID: what the processor has; in ECX whether leaves of a hypervisor follow.
const FEATURES: u32 = 1;
const HAS_HYPERVISOR: u32 = 1 << 31;
/// CPUID: the hypervisor's name, in EBX, ECX and EDX.
const HYPERVISOR: u32 = 0x4000_0000;
/// That of an emulated processor of QEMU's.
const TCG: [u8; 12] = *b"TCGTCGTCGTCG";

/// QEMU's TCG has them all, and says so; any other processor is taken at its manual's word.
pub(crate) fn by_name() -> Quirks {
    let hypervised = __cpuid(FEATURES).ecx & HAS_HYPERVISOR != 0;
    let leaf = __cpuid(HYPERVISOR);
    let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    if hypervised && name.as_flattened() == TCG {
        Quirks::ALL
    } else {
        Quirks::NONE
    }
}
