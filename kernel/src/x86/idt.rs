//! The interrupt-descriptor table: all 256 vectors, one way in ([`super::entry`]).
//!
//! Built by hand rather than with the `x86_64` crate's type, which wants a handler of its own type for every exception. AMD APM vol. 2
//! §8.2, §4.8.4.

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

use super::{entry, gdt};

/// Vectors.
const VECTORS: usize = 256;
/// #DB, which ring 3 can cause at SYSCALL's first instruction, where there is no stack.
pub(crate) const DEBUG: u8 = 1;
/// NMI.
pub(crate) const NMI: u8 = 2;
/// #DF.
pub(crate) const DOUBLE_FAULT: u8 = 8;
/// #PF.
pub(crate) const PAGE_FAULT: u8 = 14;
/// #MC.
pub(crate) const MACHINE_CHECK: u8 = 18;
/// The vectors with a stack of their own, in the order of [`Stacks`](super::stacks::Stacks).
const SPECIAL: [u8; 4] = [DEBUG, NMI, DOUBLE_FAULT, MACHINE_CHECK];
/// Present, 64-bit interrupt gate, not for ring 3.
const INTERRUPT_GATE: u64 = 0x8e << 40;

/// A gate, in its two words.
type Gate = [u64; 2];

static TABLE: Once<[Gate; VECTORS]> = Once::new();

fn gate(vector: usize) -> Gate {
    let handler = entry::stub(vector);
    let stack = SPECIAL
        .iter()
        .position(|special| usize::from(*special) == vector)
        .map_or(0, |place| place as u64 + 1);
    let low = handler & 0xffff
        | u64::from(gdt::KERNEL_CODE.0) << 16
        | stack << 32
        | INTERRUPT_GATE
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Loads the table, which is the same for all cores.
pub(super) fn start() {
    let table = TABLE.call_once(|| core::array::from_fn(gate));
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(table) - 1) as u16,
        base: VirtAddr::from_ptr(table),
    };
    // SAFETY: the table is never changed again, and its gates lead to the stubs of all vectors.
    unsafe { lidt(&pointer) };
}
