//! Leaves from 0x80000000: AMD's features, the brand, caches and address sizes.

use atoll_protocol::message::Leaf;

use crate::Facts;

/// Highest leaf of this range. Encrypted memory, 0x8000001f, is the last that a guest may look for.
const LAST: u32 = 0x8000_001f;

/// Leaf 0x80000001 EDX: the copies of leaf 1's bits, SYSCALL, NX, MMX extensions, 1 GiB pages, RDTSCP, long mode,
/// 3DNow!.
///
/// Without FFXSR (its EFER bit is refused).
const EDX: u32 = 0x0180_0000
    | 0x0003_f000
    | 0x0000_03ff
    | 1 << 11
    | 1 << 20
    | 1 << 22
    | 3 << 26
    | 1 << 29
    | 3 << 30;
/// Leaf 0x80000001 ECX: LAHF in long mode, LZCNT, SSE4A, misaligned SSE, PREFETCH, XOP, FMA4, TBM.
///
/// Without CR8 by LOCK MOV, whose prefix QEMU's TCG refuses, SVM, SKINIT, OSVW, IBS, the watchdog, performance counters, TOPOEXT and MONITORX.
const ECX: u32 = 1 | 0xf << 5 | 1 << 11 | 1 << 16 | 1 << 21;

/// Linear address bits: four levels of page tables.
const LINEAR_BITS: u32 = 48;
/// Most physical address bits that four levels of nested tables can map.
const PHYSICAL_BITS: u32 = 48;

/// The features of leaf 0x80000001 that are shown.
pub(crate) fn masked(host: Leaf) -> Leaf {
    Leaf {
        ecx: host.ecx & ECX,
        edx: host.edx & EDX,
        ..host
    }
}

/// One leaf; what is not named reads as zero.
pub(crate) fn leaf(facts: &Facts, leaf: u32, host: Leaf) -> Leaf {
    match leaf {
        0x8000_0000 => Leaf {
            eax: host.eax.min(LAST),
            ..host
        },
        0x8000_0001 => Leaf {
            eax: host.eax,
            ebx: 0,
            ecx: host.ecx & ECX,
            edx: host.edx & EDX,
        },
        // The brand, and the caches of the first and second level.
        0x8000_0002..=0x8000_0006 => host,
        // The TSC is constant, but the guest is to prefer kvmclock, as it does for any TSC without this bit.
        0x8000_0007 => Leaf::default(),
        0x8000_0008 => address_sizes(facts, host),
        // One core's caches, shared with nobody.
        0x8000_001d => Leaf {
            eax: host.eax & 0x3fff,
            ..host
        },
        _ => Leaf::default(),
    }
}

fn address_sizes(facts: &Facts, host: Leaf) -> Leaf {
    let physical = (host.eax & 0xff)
        .min(facts.physical_bits)
        .min(PHYSICAL_BITS);
    Leaf {
        eax: physical | LINEAR_BITS << 8,
        ebx: 0,
        ecx: (facts.vcpus - 1) | facts.apic_bits << 12,
        edx: 0,
    }
}
