//! Leaves from 0: features, caches, topology, extended state.

use atoll_protocol::message::{CpuidExit, Leaf};

use crate::Facts;

/// Highest leaf of this range. What lies above it (Intel's frequencies, trace, SGX, V2 topology) has nothing for this machine.
pub(crate) const LAST: u32 = 0xd;

/// Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
///
/// The machine-check architecture has no banks. Without HTT: each virtual CPU is a core of its own.
const EDX: u32 = 0x0700_0000 | 0x0080_0000 | 0x0008_0000 | 0x0003_f000 | 0x0000_0bff;
/// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND.
///
/// Without MONITOR (HLT is what idles), VMX, PDCM (no performance counters) and PCID.
const ECX: u32 = 1
    | 1 << 1
    | 1 << 9
    | 1 << 12
    | 1 << 13
    | 1 << 19
    | 1 << 20
    | 1 << 22
    | 1 << 23
    | 1 << 25
    | 1 << 26
    | 7 << 28;
/// Leaf 1 ECX: what our local APIC has whatever the host's can do (x2APIC, TSC deadline), and that this is a virtual machine.
const ECX_OURS: u32 = 1 << 21 | 1 << 24 | 1 << 31;
/// EDX of leaf 1 and of 0x80000001.
const APIC: u32 = 1 << 9;
const XSAVE: u32 = 1 << 26;
const OSXSAVE: u32 = 1 << 27;
const CR4_OSXSAVE: u64 = 1 << 18;

/// Leaf 7 EBX: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
///
/// Without SGX, RTM, HLE, MPX, INVPCID, AVX-512 and processor trace.
const STRUCTURED_EBX: u32 = 1
    | 1 << 3
    | 1 << 5
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 18
    | 1 << 19
    | 1 << 20
    | 1 << 23
    | 1 << 24
    | 1 << 29;
/// Leaf 7 EBX: what our MSRs have, whatever the host's (TSC_ADJUST).
const STRUCTURED_OURS: u32 = 1 << 1;
/// Leaf 7 ECX: UMIP, GFNI, VAES, VPCLMULQDQ, RDPID.
///
/// Without PKU, WAITPKG and LA57.
const STRUCTURED_ECX: u32 = 1 << 2 | 7 << 8 | 1 << 22;
/// Leaf 7 EDX: FSRM. Without the speculation controls, whose MSRs the guest does not have.
const STRUCTURED_EDX: u32 = 1 << 4;

/// Leaf 6 EAX: the local APIC's timer runs in every idle state (ARAT).
const ARAT: u32 = 1 << 2;

/// XCR0 bits the guest may set: x87, SSE, AVX.
pub(crate) const STATES: u32 = 7;
const AVX_STATE: u32 = 1 << 2;
/// Bytes of an XSAVE area with x87, SSE and AVX (APM vol. 2 §11.5.2), and without AVX.
const AREA_AVX: u32 = 832;
const AREA_SSE: u32 = 576;
/// Leaf 0xd.1 EAX: XSAVEOPT, XSAVEC, XGETBV with ECX=1. Without XSAVES, whose MSR the guest does not have.
const XSAVE_FORMS: u32 = 7;

/// The features of leaf 1 that are shown.
pub(crate) fn masked(host: Leaf) -> Leaf {
    Leaf {
        ecx: host.ecx & ECX | ECX_OURS,
        edx: host.edx & EDX,
        ..host
    }
}

/// Those of leaf 7.
pub(crate) fn structured(host: Leaf) -> Leaf {
    Leaf {
        ebx: host.ebx & STRUCTURED_EBX | STRUCTURED_OURS,
        ecx: host.ecx & STRUCTURED_ECX,
        edx: host.edx & STRUCTURED_EDX,
        ..host
    }
}

/// Leaf 1, with the local APIC enabled.
#[inline(always)]
pub(crate) fn features(facts: &Facts, host: Leaf, cr4: u64, vcpu: u8) -> Leaf {
    let ecx = host.ecx & ECX | ECX_OURS;
    let enabled = if cr4 & CR4_OSXSAVE != 0 && ecx & XSAVE != 0 {
        OSXSAVE
    } else {
        0
    };
    Leaf {
        eax: host.eax,
        ebx: host.ebx & 0xff00 | facts.vcpus << 16 | u32::from(vcpu) << 24,
        ecx: ecx | enabled,
        edx: host.edx & EDX,
    }
}

/// Bits of EDX that are clear as things stand: of the local APIC, while that is disabled (APM vol. 2 §16.3.1).
pub(crate) fn disabled(cr4: u64) -> u32 {
    if cr4 & CpuidExit::APIC_OFF != 0 {
        APIC
    } else {
        0
    }
}

/// Leaves 2 to [`LAST`].
pub(crate) fn leaf(facts: &Facts, leaf: u32, subleaf: u32, host: Leaf, vcpu: u8) -> Leaf {
    match leaf {
        2 => host,
        // The cache's sharing and core counts are one each.
        4 => Leaf {
            eax: host.eax & 0x3fff,
            ..host
        },
        6 => Leaf {
            eax: ARAT,
            ..Leaf::default()
        },
        7 if subleaf == 0 => Leaf {
            eax: 0,
            ebx: host.ebx & STRUCTURED_EBX | STRUCTURED_OURS,
            ecx: host.ecx & STRUCTURED_ECX,
            edx: host.edx & STRUCTURED_EDX,
        },
        0xb => topology(facts, subleaf, vcpu),
        0xd => extended_state(subleaf, host),
        _ => Leaf::default(),
    }
}

/// Leaf 0xb: one thread per core, all cores in one package.
fn topology(facts: &Facts, level: u32, vcpu: u8) -> Leaf {
    let (eax, ebx, kind) = match level {
        0 => (0, 1, 1),
        1 => (facts.apic_bits, facts.vcpus, 2),
        _ => (0, 0, 0),
    };
    Leaf {
        eax,
        ebx,
        ecx: level & 0xff | kind << 8,
        edx: u32::from(vcpu),
    }
}

/// Leaf 0xd. The host's sizes for the state components hold for the guest as well: the format is the CPU's.
fn extended_state(subleaf: u32, host: Leaf) -> Leaf {
    match subleaf {
        0 => {
            let states = host.eax & STATES;
            let largest = if states & AVX_STATE != 0 {
                AREA_AVX
            } else {
                AREA_SSE
            };
            let area = if states == 0 { 0 } else { largest };
            Leaf {
                eax: states,
                ebx: host.ebx.min(area),
                ecx: area,
                edx: 0,
            }
        }
        1 => Leaf {
            eax: host.eax & XSAVE_FORMS,
            ebx: host.ebx.min(AREA_AVX),
            ecx: 0,
            edx: 0,
        },
        2 => host,
        _ => Leaf::default(),
    }
}
