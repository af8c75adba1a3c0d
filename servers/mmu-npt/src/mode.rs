//! What the CPU's mode says about addresses and instruction pointers (APM vol. 2 §4.8, vol. 3 §1.2).

use atoll_protocol::vcpu::Context;

/// CR0.PE, protected mode.
pub(crate) const CR0_PE: u64 = 1 << 0;
/// CR0.WP, the kernel obeys read-only pages.
pub(crate) const CR0_WP: u64 = 1 << 16;
/// CR0.PG, paging.
pub(crate) const CR0_PG: u64 = 1 << 31;
/// CR4.DE, breakpoints on ports, and no second names of debug registers.
pub(crate) const CR4_DE: u64 = 1 << 3;
/// CR4.PSE, 4 MiB pages.
pub(crate) const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE, 8-byte entries.
pub(crate) const CR4_PAE: u64 = 1 << 5;
/// CR4.SMAP, the kernel keeps out of user pages.
pub(crate) const CR4_SMAP: u64 = 1 << 21;
/// EFER.LME, long mode wanted.
pub(crate) const EFER_LME: u64 = 1 << 8;
/// EFER.LMA, long mode active.
pub(crate) const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE, no-execute pages.
pub(crate) const EFER_NXE: u64 = 1 << 11;
/// RFLAGS.VM, virtual-8086 mode.
pub(crate) const RFLAGS_VM: u64 = 1 << 17;
/// RFLAGS.AC, for SMAP.
pub(crate) const RFLAGS_AC: u64 = 1 << 18;
/// L in a code segment's packed attributes.
pub(crate) const CS_LONG: u16 = 1 << 9;
/// D in a segment's packed attributes.
pub(crate) const SEGMENT_BIG: u16 = 1 << 10;

/// How instructions are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeSize {
    /// Real mode, virtual-8086 mode and 16-bit segments.
    Bits16,
    /// 32-bit segments.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// The code size of the current segment.
#[inline(always)]
pub(crate) fn code_size(context: &Context) -> CodeSize {
    if context.efer & EFER_LMA != 0 && context.cs_attributes & CS_LONG != 0 {
        CodeSize::Bits64
    } else if context.cs_attributes & SEGMENT_BIG != 0 {
        CodeSize::Bits32
    } else {
        CodeSize::Bits16
    }
}

/// The linear address of the instruction. 64-bit mode knows no base (APM vol. 2 §4.5.3).
#[inline(always)]
pub(crate) fn instruction_address(context: &Context) -> u64 {
    match code_size(context) {
        CodeSize::Bits64 => context.rip,
        CodeSize::Bits32 | CodeSize::Bits16 => {
            context.cs_base.wrapping_add(context.rip) & 0xffff_ffff
        }
    }
}

/// RIP after an instruction of `length` bytes: it wraps with the code size.
#[inline(always)]
pub(crate) fn next_rip(context: &Context, length: u8) -> u64 {
    let next = context.rip.wrapping_add(u64::from(length));
    match code_size(context) {
        CodeSize::Bits64 => next,
        CodeSize::Bits32 => next & 0xffff_ffff,
        CodeSize::Bits16 => next & 0xffff,
    }
}

/// Whether segments are selectors with descriptors behind them, neither real nor virtual-8086 mode.
pub(crate) fn is_protected(context: &Context) -> bool {
    context.cr0 & CR0_PE != 0 && context.rflags & RFLAGS_VM == 0
}
