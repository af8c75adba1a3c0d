//! What the CPU hands over by itself: CPUID, MSRs, hypercalls, nested faults, instructions.

use std::vec::Vec;

use proptest::prelude::*;

use super::{Event, events, pass};

/// CPUID with leaves from all the ranges that there are.
pub fn cpuid() -> impl Strategy<Value = Vec<Event>> {
    let leaf = prop_oneof![
        0_u32..0x20,
        0x4000_0000_u32..0x4000_0120,
        0x8000_0000_u32..0x8000_0022,
        any::<u32>()
    ];
    events((leaf, 0_u32..4).prop_map(|(leaf, subleaf)| Event::Cpuid(leaf, subleaf)))
}

/// RDMSR and WRMSR. Registers that other roles have are not among them.
pub fn msr() -> impl Strategy<Value = Vec<Event>> {
    const KNOWN: [u32; 13] = [
        0x10,
        0x11,
        0x12,
        0xfe,
        0x1a0,
        0x277,
        0x2ff,
        0xc000_0080,
        0xc001_0015,
        0xc001_1029,
        0x8b,
        0x4b56_4d00,
        0x4b56_4d01,
    ];
    let index = || prop_oneof![4 => prop::sample::select(&KNOWN[..]), 2 => 0x200_u32..0x210, 1 => 0x250_u32..0x270, 1 => any::<u32>()];
    events(prop_oneof![
        4 => index().prop_map(Event::ReadMsr),
        4 => (index(), any::<u64>(), 0_u32..64).prop_map(|(index, value, shift)| Event::WriteMsr(index, value >> shift)),
        1 => pass(3_000_000_000),
    ])
}

/// VMMCALL from user mode and from the kernel.
pub fn hypercall() -> impl Strategy<Value = Vec<Event>> {
    events(
        (0_u64..16, prop_oneof![Just(0_u8), Just(3)])
            .prop_map(|(number, cpl)| Event::Hypercall(number, cpl)),
    )
}

/// Faults on memory of the guest's, and instructions that the CPU does not carry out.
pub fn mmu() -> impl Strategy<Value = Vec<Event>> {
    events(prop_oneof![
        4 => (0..super::GUEST as u64).prop_map(Event::MemoryFault),
        1 => (0_u64..0x90).prop_map(Event::Instruction),
    ])
}
