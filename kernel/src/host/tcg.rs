//! QEMU's TCG as the host: it has faults that no processor has, and that Atoll closes.

use core::arch::x86_64::__cpuid;

/// Leaf of a hypervisor's own leaves.
const HYPERVISOR: u32 = 0x4000_0000;

/// Whether the host's processor is one that TCG emulates: it says so.
pub(crate) fn is_host() -> bool {
    let hypervised = __cpuid(1).ecx & 1 << 31 != 0;
    let leaf = __cpuid(HYPERVISOR);
    let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    hypervised && name.as_flattened() == b"TCGTCGTCGTCG"
}
