//! Leaves from 0x40000000: the hypervisor's interfaces.
//!
//! KVM's signature stands first, with a range long enough to hold the timing leaf that was proposed for all hypervisors in 2008: so one
//! base serves Linux (kvmclock) and the BSDs (frequencies). Atoll's own signature stands one step of 0x100 higher.

use atoll_protocol::message::Leaf;

use crate::Facts;

/// KVM's features, in leaf 0x40000001 EAX: CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, CLOCKSOURCE_STABLE.
const KVM_FEATURES: u32 = 1 | 1 << 1 | 1 << 3 | 1 << 24;
/// Frequency of the local APIC's timer, in kHz; the irqchip's model counts nanoseconds.
const LAPIC_KHZ: u32 = 1_000_000;

const fn signature(last: u32, text: &[u8; 12]) -> Leaf {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *text;
    Leaf {
        eax: last,
        ebx: u32::from_le_bytes([a, b, c, d]),
        ecx: u32::from_le_bytes([e, f, g, h]),
        edx: u32::from_le_bytes([i, j, k, l]),
    }
}

const KVM: Leaf = signature(0x4000_0010, b"KVMKVMKVM\0\0\0");
const ATOLL: Leaf = signature(0x4000_0100, b"AtollAtollVM");

/// One leaf; what is not named reads as zero.
#[inline(always)]
pub(crate) fn leaf(facts: &Facts, leaf: u32) -> Leaf {
    match leaf {
        0x4000_0000 => KVM,
        0x4000_0001 => Leaf {
            eax: KVM_FEATURES,
            ..Leaf::default()
        },
        0x4000_0010 => Leaf {
            eax: facts.tsc_khz,
            ebx: LAPIC_KHZ,
            ..Leaf::default()
        },
        0x4000_0100 => ATOLL,
        _ => Leaf::default(),
    }
}
