//! A virtual CPU's registers, as messages and effects name them.

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// General registers in encoding order (AMD APM vol. 3, table 1-10): RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
pub const GENERAL: usize = 16;

/// What an instruction emulator needs beyond the exit itself: where the instruction is and how its addresses translate.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Context {
    /// Offset of the instruction in CS.
    pub rip: u64,
    /// Base of CS (0 in 64-bit mode).
    pub cs_base: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER as the guest sees it.
    pub efer: u64,
    /// Attributes of CS in the VMCB's packed form (APM vol. 2 §15.5.1): bit 9 is L, bit 10 is D.
    pub cs_attributes: u16,
    /// Current privilege level, 0 to 3.
    pub cpl: u8,
    /// The task priority (CR8), 0 to 15.
    pub tpr: u8,
    /// Not used; zero.
    pub reserved: [u8; 4],
}

/// One segment register in the VMCB's form (APM vol. 2, table B-2).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Packed attributes: type, S, DPL, P in bits 0 to 7, AVL, L, D, G in bits 8 to 11.
    pub attributes: u16,
    /// Limit in bytes, already scaled.
    pub limit: u32,
    /// Base, linear.
    pub base: u64,
}

/// What `NeedRegisters` adds to an exit: all registers beside those of [`Context`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Registers {
    /// General registers in encoding order.
    pub general: [u64; GENERAL],
    /// ES, CS, SS, DS, FS, GS in encoding order.
    pub segments: [Segment; 6],
    /// CR2.
    pub cr2: u64,
    /// DR0 to DR3, DR6 and DR7 as the guest sees them.
    pub debug: [u64; 6],
}

/// The whole state that a loader gives a virtual CPU before its first instruction.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct InitialState {
    /// General registers in encoding order.
    pub general: [u64; GENERAL],
    /// ES, CS, SS, DS, FS, GS in encoding order.
    pub segments: [Segment; 6],
    /// Global descriptor table; selector and attributes are unused.
    pub gdtr: Segment,
    /// Interrupt descriptor table; selector and attributes are unused.
    pub idtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER as the guest sees it (the kernel adds SVME).
    pub efer: u64,
}

/// A register outside the general file that an effect may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum SystemRegister {
    /// CR0.
    Cr0,
    /// CR2.
    Cr2,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// EFER as the guest sees it.
    Efer,
    /// The page attribute table (MSR 0x277).
    Pat,
    /// RFLAGS.
    Rflags,
    /// The instruction pointer.
    Rip,
    /// XCR0.
    Xcr0,
    /// What the guest's TSC reads right now; the kernel derives TSC_OFFSET.
    Tsc,
    /// The task priority (CR8): 0 to 15.
    TaskPriority,
    /// DR0: the linear address of breakpoint 0.
    Dr0,
    /// DR1, of breakpoint 1.
    Dr1,
    /// DR2, of breakpoint 2.
    Dr2,
    /// DR3, of breakpoint 3.
    Dr3,
    /// DR6: what raised #DB.
    Dr6,
    /// DR7: which breakpoints are armed, and for what.
    Dr7,
    /// APIC_BASE.EN: 1 while the local APIC is enabled, else 0. CPUID shows it.
    ApicEnabled,
}

impl SystemRegister {
    /// Whether XSETBV takes this value on a CPU that has the components `host` (APM vol. 2 §11.5.2).
    #[must_use]
    pub const fn is_xcr0(value: u64, host: u64) -> bool {
        // x87 always; AVX only with SSE, AVX-512 (three parts) only with AVX, and MPX's two parts together.
        let whole = (value & 4 == 0 || value & 2 != 0) && (value & 0xe0 == 0 || value & 4 != 0);
        let parts = matches!(value & 0xe0, 0 | 0xe0) && matches!(value & 0x18, 0 | 0x18);
        value & 1 != 0 && value & !host == 0 && whole && parts
    }
}

/// An exception for the guest (APM vol. 2 §8.2).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Exception {
    /// Error code; meaningful if `has_error` is 1.
    pub error: u32,
    /// Vector, 0 to 31.
    pub vector: u8,
    /// 1 if the exception pushes an error code.
    pub has_error: u8,
    /// Not used; zero.
    pub reserved: u16,
    /// For #PF the linear address (CR2), else 0.
    pub address: u64,
}

impl Exception {
    /// #UD: invalid opcode.
    pub const UNDEFINED: Exception = Exception {
        error: 0,
        vector: 6,
        has_error: 0,
        reserved: 0,
        address: 0,
    };
    /// #GP(0): general protection.
    pub const PROTECTION: Exception = Exception {
        error: 0,
        vector: 13,
        has_error: 1,
        reserved: 0,
        address: 0,
    };

    /// #PF with `error` at the linear `address`.
    #[must_use]
    pub const fn page_fault(error: u32, address: u64) -> Exception {
        Exception {
            error,
            vector: 14,
            has_error: 1,
            reserved: 0,
            address,
        }
    }
}
