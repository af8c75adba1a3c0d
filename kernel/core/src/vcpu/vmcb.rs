//! The virtual machine control block (APM vol. 2, appendix B).

use atoll_protocol::vcpu::Segment;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One VMCB: exactly one page, at a page boundary.
#[repr(C, align(4096))]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Vmcb {
    /// Intercepts, exit information and event injection (table B-1).
    pub control: Control,
    /// The guest's state (table B-2).
    pub save: Save,
}

impl Vmcb {
    /// All zero.
    pub const ZERO: Vmcb = zerocopy::transmute!([[0_u64; 8]; 64]);
}

/// The control area (table B-1), 1024 bytes.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// CR0 to CR15 reads.
    pub intercept_cr_reads: u16,
    /// CR0 to CR15 writes.
    pub intercept_cr_writes: u16,
    /// DR0 to DR15 reads.
    pub intercept_dr_reads: u16,
    /// DR0 to DR15 writes.
    pub intercept_dr_writes: u16,
    /// Exceptions by vector.
    pub intercept_exceptions: u32,
    /// [`intercept`] bits of the first word.
    pub intercepts1: u32,
    /// [`intercept`] bits of the second word.
    pub intercepts2: u32,
    reserved_014: [u8; 0x2c],
    /// Physical address of the I/O permission map.
    pub iopm: u64,
    /// Physical address of the MSR permission map.
    pub msrpm: u64,
    /// Added to the TSC when the guest reads it.
    pub tsc_offset: u64,
    /// Address space identifier; not 0.
    pub asid: u32,
    /// 1: flush everything at VMRUN.
    pub tlb_control: u32,
    /// Virtual interrupts: see [`vintr`].
    pub vintr: u64,
    /// Bit 0: the guest is in an interrupt shadow.
    pub shadow: u64,
    /// Why the guest exited.
    pub exit_code: u64,
    /// Depends on the exit.
    pub exit_info1: u64,
    /// Depends on the exit.
    pub exit_info2: u64,
    /// The event whose delivery was interrupted by the exit.
    pub exit_int_info: u64,
    /// Bit 0: nested paging.
    pub nested: u64,
    reserved_098: [u8; 0x10],
    /// The event to inject at VMRUN.
    pub event: u64,
    /// Root of the nested page tables.
    pub nested_cr3: u64,
    /// LBR virtualisation.
    pub lbr: u64,
    /// Clean bits; 0 reloads everything.
    pub clean: u64,
    /// RIP of the next instruction, where the CPU saves it.
    pub next_rip: u64,
    reserved_0d0: [u8; 0x330],
}

impl Control {
    /// Sets whether the guest's exceptions with this vector exit.
    pub(crate) fn set_exception(&mut self, vector: u8, exits: bool) {
        let bit = 1 << vector;
        self.intercept_exceptions = self.intercept_exceptions & !bit | if exits { bit } else { 0 };
    }
}

/// The state save area (table B-2), the rest of the page.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Save {
    /// ES, CS, SS, DS, FS, GS in encoding order.
    pub segments: [Segment; 6],
    /// GDTR.
    pub gdtr: Segment,
    /// LDTR.
    pub ldtr: Segment,
    /// IDTR.
    pub idtr: Segment,
    /// TR.
    pub tr: Segment,
    reserved_0a0: [u8; 0x2b],
    /// Current privilege level.
    pub cpl: u8,
    reserved_0cc: [u8; 4],
    /// EFER, SVME included.
    pub efer: u64,
    reserved_0d8: [u8; 0x70],
    /// CR4.
    pub cr4: u64,
    /// CR3.
    pub cr3: u64,
    /// CR0.
    pub cr0: u64,
    /// DR7.
    pub dr7: u64,
    /// DR6.
    pub dr6: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RIP.
    pub rip: u64,
    reserved_180: [u8; 0x58],
    /// RSP.
    pub rsp: u64,
    reserved_1e0: [u8; 0x18],
    /// RAX.
    pub rax: u64,
    /// STAR.
    pub star: u64,
    /// LSTAR.
    pub lstar: u64,
    /// CSTAR.
    pub cstar: u64,
    /// SFMASK.
    pub sfmask: u64,
    /// KernelGSBase.
    pub kernel_gs_base: u64,
    /// SYSENTER_CS.
    pub sysenter_cs: u64,
    /// SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// CR2.
    pub cr2: u64,
    reserved_248: [u8; 0x20],
    /// The guest's PAT, used with nested paging.
    pub pat: u64,
    reserved_270: [u8; 0x990],
}

/// Bits of `intercepts1` and `intercepts2` (APM vol. 2 §15.9).
pub mod intercept {
    /// First word: physical interrupts.
    pub const INTR: u32 = 1 << 0;
    /// First word: NMI.
    pub const NMI: u32 = 1 << 1;
    /// First word: INIT.
    pub const INIT: u32 = 1 << 3;
    /// First word: the interrupt window.
    pub const VINTR: u32 = 1 << 4;
    /// First word: writes to CR0 that change more than TS and MP.
    pub const CR0_SELECTIVE_WRITE: u32 = 1 << 5;
    /// First word: RDPMC.
    pub const RDPMC: u32 = 1 << 15;
    /// First word: CPUID.
    pub const CPUID: u32 = 1 << 18;
    /// First word: RSM.
    pub const RSM: u32 = 1 << 19;
    /// First word: IRET.
    pub const IRET: u32 = 1 << 20;
    /// First word: INVD.
    pub const INVD: u32 = 1 << 22;
    /// First word: HLT.
    pub const HLT: u32 = 1 << 24;
    /// First word: INVLPGA.
    pub const INVLPGA: u32 = 1 << 26;
    /// First word: IN, OUT and their string forms, by the permission map.
    pub const IOIO: u32 = 1 << 27;
    /// First word: RDMSR and WRMSR, by the permission map.
    pub const MSR: u32 = 1 << 28;
    /// First word: SHUTDOWN (a triple fault).
    pub const SHUTDOWN: u32 = 1 << 31;
    /// Second word: VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT.
    pub const SVM: u32 = 0x7f;
    /// Second word: MONITOR, MWAIT (both conditions).
    pub const MWAIT: u32 = 7 << 10;
    /// Second word: XSETBV.
    pub const XSETBV: u32 = 1 << 13;
    /// The vector of #DB.
    pub const DEBUG: u8 = 1;
    /// The vector of #MF.
    pub const X87: u8 = 16;
    /// The vector of #AC.
    pub const ALIGNMENT: u8 = 17;
    /// The vector of #MC.
    pub const MACHINE_CHECK: u8 = 18;
    /// Debug registers that accesses exit for: all but DR6 and DR4, which names the same one.
    pub const DEBUG_REGISTERS: u16 = 0xaf;
}

/// Bits of `vintr` (APM vol. 2, table B-1, offset 0x60).
pub mod vintr {
    /// The guest's task priority.
    pub const TPR: u64 = 0xff;
    /// A virtual interrupt is pending.
    pub const IRQ: u64 = 1 << 8;
    /// Its priority: the highest.
    pub const PRIORITY: u64 = 0xf << 16;
    /// Ignore the task priority for it.
    pub const IGNORE_TPR: u64 = 1 << 20;
    /// RFLAGS.IF governs virtual interrupts only; physical ones follow the host's IF.
    pub const MASKING: u64 = 1 << 24;
    /// Its vector...
    pub const VECTOR: u64 = 0xff << VECTOR_SHIFT;
    /// ...from this bit on.
    pub const VECTOR_SHIFT: u32 = 32;
}

/// The layout shared by EVENTINJ and EXITINTINFO (APM vol. 2 §15.20).
pub mod event {
    /// The field holds an event.
    pub const VALID: u64 = 1 << 31;
    /// The event has an error code, in the upper half.
    pub const ERROR: u64 = 1 << 11;
    /// Mask of the type.
    pub const TYPE: u64 = 7 << 8;
    /// An external interrupt.
    pub const INTERRUPT: u64 = 0;
    /// NMI.
    pub const NMI: u64 = 2 << 8;
    /// A fault or trap.
    pub const EXCEPTION: u64 = 3 << 8;
    /// INTn.
    pub const SOFTWARE: u64 = 4 << 8;
}

/// Exit codes (APM vol. 2, appendix C), compared in their low 32 bits: some CPUs extend "invalid" to 64 bits, some do not.
pub mod exit {
    /// Write of CR0.
    pub const CR0_WRITE: u32 = 0x10;
    /// Write of CR4.
    pub const CR4_WRITE: u32 = 0x14;
    /// Exception 0; the others follow by vector.
    pub const EXCEPTION: u32 = 0x40;
    /// Exception 31.
    pub const LAST_EXCEPTION: u32 = 0x5f;
    /// #DB.
    pub const DEBUG: u32 = 0x41;
    /// #MF.
    pub const X87: u32 = 0x50;
    /// #AC.
    pub const ALIGNMENT: u32 = 0x51;
    /// #MC.
    pub const MACHINE_CHECK: u32 = 0x52;
    /// A physical interrupt.
    pub const INTR: u32 = 0x60;
    /// A physical NMI.
    pub const NMI: u32 = 0x61;
    /// The interrupt window.
    pub const VINTR: u32 = 0x64;
    /// CPUID.
    pub const CPUID: u32 = 0x72;
    /// IRET.
    pub const IRET: u32 = 0x74;
    /// HLT.
    pub const HLT: u32 = 0x78;
    /// IN, OUT, INS, OUTS.
    pub const IOIO: u32 = 0x7b;
    /// RDMSR, WRMSR.
    pub const MSR: u32 = 0x7c;
    /// A triple fault.
    pub const SHUTDOWN: u32 = 0x7f;
    /// VMMCALL.
    pub const VMMCALL: u32 = 0x81;
    /// A nested page fault.
    pub const NESTED_FAULT: u32 = 0x400;
    /// The CPU refused the VMCB.
    pub const INVALID: u32 = 0xffff_ffff;
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn fields_lie_where_the_manual_says() {
        assert_eq!(size_of::<Vmcb>(), 4096);
        assert_eq!(offset_of!(Control, iopm), 0x40);
        assert_eq!(offset_of!(Control, exit_code), 0x70);
        assert_eq!(offset_of!(Control, event), 0xa8);
        assert_eq!(offset_of!(Save, cpl), 0xcb);
        assert_eq!(offset_of!(Save, efer), 0xd0);
        assert_eq!(offset_of!(Save, cr4), 0x148);
        assert_eq!(offset_of!(Save, rip), 0x178);
        assert_eq!(offset_of!(Save, rax), 0x1f8);
        assert_eq!(offset_of!(Save, cr2), 0x240);
        assert_eq!(offset_of!(Save, pat), 0x268);
    }
}
