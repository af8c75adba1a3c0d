//! Address-space identifiers: by them a core's TLB tells the translations of its guests apart (APM vol. 2 §15.16).
//!
//! They are a core's: a vCPU that comes to another core gets a new one there, since that core may still have what the number meant before.

use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU32, Ordering};

use atoll_core::vcpu::vmcb::Control;

use crate::cpu::core_id::{CORES, CoreId, PerCore};

/// CPUID: what the processor's SVM has; in EBX how many ASIDs.
const SVM_FEATURES: u32 = 0x8000_000a;
/// The host's. A guest cannot have it.
const HOST: u32 = 0;
/// TLB_CONTROL: VMRUN flushes everything.
const FLUSH: u32 = 1;

/// The last that each core has given.
static LAST: PerCore<AtomicU32> = PerCore::new([const { AtomicU32::new(HOST) }; CORES]);

/// Gives a vCPU that is to run on this core an ASID of its own; what the core knows under that number is flushed before. They begin anew
/// after the last: a core has fewer vCPUs than ASIDs.
pub(crate) fn assign(core: CoreId, control: &mut Control) {
    let count = __cpuid(SVM_FEATURES).ebx;
    let last = LAST[core].load(Ordering::Relaxed);
    let next = if last + 1 < count { last + 1 } else { HOST + 1 };
    LAST[core].store(next, Ordering::Relaxed);
    control.asid = next;
    control.tlb_control = FLUSH;
}
