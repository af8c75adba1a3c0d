//! Numbers of the model-specific registers that this server answers, by their names in the manuals.

/// Time-stamp counter.
pub(crate) const TSC: u32 = 0x10;
/// What has been added to the time-stamp counter.
pub(crate) const TSC_ADJUST: u32 = 0x3b;
/// KVM's wall clock, by its first number.
pub(crate) const KVM_WALL_CLOCK_OLD: u32 = 0x11;
/// KVM's system time, by its first number.
pub(crate) const KVM_SYSTEM_TIME_OLD: u32 = 0x12;
/// Microcode revision (AMD: patch level).
pub(crate) const PATCH_LEVEL: u32 = 0x8b;
/// What the memory type range registers can do.
pub(crate) const MTRR_CAP: u32 = 0xfe;
/// First of the variable ranges' base and mask pairs.
pub(crate) const MTRR_VARIABLE: u32 = 0x200;
/// Last of them.
pub(crate) const MTRR_VARIABLE_LAST: u32 = 0x20f;
/// Fixed range: 64 KiB pieces from 0.
pub(crate) const MTRR_FIXED_64K: u32 = 0x250;
/// Fixed ranges: 16 KiB pieces from 0x80000.
pub(crate) const MTRR_FIXED_16K: u32 = 0x258;
/// Last of them.
pub(crate) const MTRR_FIXED_16K_LAST: u32 = 0x259;
/// Fixed ranges: 4 KiB pieces from 0xc0000.
pub(crate) const MTRR_FIXED_4K: u32 = 0x268;
/// Last of them.
pub(crate) const MTRR_FIXED_4K_LAST: u32 = 0x26f;
/// Page attribute table.
pub(crate) const PAT: u32 = 0x277;
/// Default memory type, and whether the ranges are on.
pub(crate) const MTRR_DEFAULT: u32 = 0x2ff;
/// Miscellaneous enables (Intel's; kept as a plain value).
pub(crate) const MISC_ENABLE: u32 = 0x1a0;
/// KVM's wall clock.
pub(crate) const KVM_WALL_CLOCK: u32 = 0x4b56_4d00;
/// KVM's system time.
pub(crate) const KVM_SYSTEM_TIME: u32 = 0x4b56_4d01;
/// Extended features.
pub(crate) const EFER: u32 = 0xc000_0080;
/// Hardware configuration.
pub(crate) const HWCR: u32 = 0xc001_0015;
/// Decode configuration: whether LFENCE is serialising.
pub(crate) const DE_CFG: u32 = 0xc001_1029;

/// Registers that systems touch at boot without asking CPUID first, and that read as zero and ignore writes here.
#[must_use]
pub(crate) fn is_inert(index: u32) -> bool {
    matches!(
        index,
        0x0..=0x1 // P5 machine check address and type
            | 0x17 // platform id
            | 0x2a // power-on configuration
            | 0x34 // SMI count
            | 0x3a // feature control
            | 0x79 // microcode update
            | 0xcd | 0xce // bus frequency, platform information
            | 0x140 // miscellaneous features
            | 0x179..=0x17b // machine check capabilities (no banks), status, control
            | 0x198 | 0x199 // performance status and control
            | 0x1d9 | 0x1db..=0x1de // debug control, last branch and exception addresses
            | 0x606 | 0x611 | 0x619 | 0x639 | 0x641 // energy counters
            | 0xc001_0000..=0xc001_0007 // K7 performance counters
            | 0xc001_0010 // SYSCFG
            | 0xc001_001a | 0xc001_001d // TOP_MEM, TOP_MEM2
            | 0xc001_001f // northbridge configuration
            | 0xc001_0020 // microcode update
            | 0xc001_0055 // interrupt pending message
            | 0xc001_0058 // MMIO configuration base
            | 0xc001_0112 | 0xc001_0113 // SMM segment
            | 0xc001_0299 // energy unit
            | 0xc001_1022 | 0xc001_1023 | 0xc001_102a | 0xc001_102c // DC, TW (CU), BU, EX configuration
    )
}
