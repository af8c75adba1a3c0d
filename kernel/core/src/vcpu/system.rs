//! System registers as the guest sees them, and as the CPU runs with them.
//!
//! The two differ where a state that is legal for a guest is none that Atoll's CPU may be in. One function, [`Vcpu::derive`], makes the one
//! of the other, whatever the guest's is, and nothing else writes the VMCB's CR0 or EFER, or the intercepts that go with them:
//!
//! - NE is always set. With NE clear an x87 exception is a signal outside the CPU (FERR#, IRQ 13), which QEMU's TCG raises on the host's
//!   platform, and without its lock. The guest's #MF is intercepted instead, and pulses line 13.
//! - LME is set together with LMA only. QEMU's #VMEXIT does not come back from a guest with LME but without PAE.
//! - NW without CD and PG without PE, which no MOV to CR0 can make, are not run: VMRUN would refuse them.
//!
//! CR0 is read and written by exits while it differs, else by the guest itself, but for changes beyond TS and MP. CR3, CR4 and PAT are in the
//! VMCB as the guest sees them. AMD APM vol. 2 §3.1, §14.6, §15.5.1, §15.9.

use atoll_protocol::message::CpuidExit;
use atoll_protocol::vcpu::SystemRegister;
use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};

use super::Vcpu;
use super::debug::Debug;
use super::vmcb::{intercept, vintr};

/// What the guest changes without an exit: CLTS, LMSW, and MOV to CR0 where only TS and MP change.
const OWN: u64 = Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::MONITOR_COPROCESSOR.bits()
    | Cr0Flags::EMULATE_COPROCESSOR.bits()
    | Cr0Flags::TASK_SWITCHED.bits();
/// Bit of CR0 in the intercepts of reads, and of writes.
const CR0: u16 = 1;

/// What the guest sees of the registers that the CPU does not run with as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// CR0, but for [`OWN`].
    cr0: u64,
    efer: u64,
    /// What CPUID's message has beside CR4: whether the local APIC is disabled.
    pub(crate) apic: u64,
    /// The debug registers.
    pub debug: Debug,
}

impl System {
    /// Before the first instruction.
    pub(crate) const RESET: System = System {
        cr0: 0,
        efer: 0,
        apic: 0,
        debug: Debug::RESET,
    };
}

impl Vcpu {
    /// CR0 as the guest sees it.
    #[inline(always)]
    pub fn cr0(&self) -> u64 {
        self.vmcb.save.cr0 & OWN | self.system.cr0 & !OWN
    }

    /// EFER as the guest sees it: without SVME.
    #[inline(always)]
    pub fn efer(&self) -> u64 {
        self.system.efer
    }

    /// Whether x87 exceptions are a signal outside the CPU, as on the first PCs (CR0.NE is clear).
    #[inline(always)]
    pub(crate) fn signals_x87_outside(&self) -> bool {
        self.system.cr0 & Cr0Flags::NUMERIC_ERROR.bits() == 0
    }

    /// Sets what the CPU runs with next, and what it tells of, after the guest's CR0, CR4 or EFER have changed.
    fn derive(&mut self) {
        let cr0 = Cr0Flags::from_bits_retain(self.cr0());
        let mut run = cr0 | Cr0Flags::NUMERIC_ERROR | Cr0Flags::EXTENSION_TYPE;
        if !cr0.contains(Cr0Flags::CACHE_DISABLE) {
            run.remove(Cr0Flags::NOT_WRITE_THROUGH);
        }
        if !cr0.contains(Cr0Flags::PROTECTED_MODE_ENABLE) {
            run.remove(Cr0Flags::PAGING);
        }
        let pae = self.vmcb.save.cr4 & Cr4Flags::PHYSICAL_ADDRESS_EXTENSION.bits() != 0;
        let mut efer = EferFlags::from_bits_retain(self.system.efer);
        let long =
            run.contains(Cr0Flags::PAGING) && pae && efer.contains(EferFlags::LONG_MODE_ENABLE);
        efer.set(EferFlags::LONG_MODE_ACTIVE, long);
        self.system.efer = efer.bits();
        efer.set(EferFlags::LONG_MODE_ENABLE, long);
        efer.insert(EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE);

        let differs = run.bits() != cr0.bits();
        let control = &mut self.vmcb.control;
        let all = if differs { CR0 } else { 0 };
        control.intercept_cr_reads = control.intercept_cr_reads & !CR0 | all;
        // The intercept of changes compares with what the CPU runs with: a guest that sets NE would change nothing there.
        control.intercept_cr_writes = control.intercept_cr_writes & !CR0 | all;
        control.set_exception(
            intercept::X87,
            self.system.cr0 & Cr0Flags::NUMERIC_ERROR.bits() == 0,
        );
        control.tlb_control = 1;
        let save = &mut self.vmcb.save;
        (save.cr0, save.efer) = (run.bits(), efer.bits());
        self.skip.clear();
    }

    /// Sets CR0, CR4 and EFER at once.
    pub fn set_mode(&mut self, cr0: u64, cr4: u64, efer: u64) {
        (self.vmcb.save.cr0, self.system.cr0) = (cr0, cr0);
        self.vmcb.save.cr4 = cr4;
        self.system.efer = efer & !EferFlags::SECURE_VIRTUAL_MACHINE_ENABLE.bits();
        self.derive();
    }

    /// Sets a system register; `now` is for the TSC.
    pub fn set_system(&mut self, register: SystemRegister, value: u64, now: u64) {
        match register {
            SystemRegister::Cr0 => self.set_mode(value, self.vmcb.save.cr4, self.system.efer),
            SystemRegister::Cr4 => self.set_mode(self.cr0(), value, self.system.efer),
            SystemRegister::Efer => self.set_mode(self.cr0(), self.vmcb.save.cr4, value),
            SystemRegister::Cr2 => self.vmcb.save.cr2 = value,
            SystemRegister::Cr3 => {
                self.vmcb.save.cr3 = value;
                self.vmcb.control.tlb_control = 1;
            }
            SystemRegister::Pat => self.vmcb.save.pat = value,
            SystemRegister::Rflags => self.vmcb.save.rflags = value | 2,
            SystemRegister::Rip => self.advance(value),
            SystemRegister::Xcr0 => self.xcr0 = value,
            SystemRegister::Tsc => self.vmcb.control.tsc_offset = value.wrapping_sub(now),
            SystemRegister::TaskPriority => {
                let control = &mut self.vmcb.control;
                control.vintr = control.vintr & !vintr::TPR | value & 0xf;
            }
            SystemRegister::ApicEnabled => {
                self.system.apic = if value == 0 { CpuidExit::APIC_OFF } else { 0 };
            }
            SystemRegister::Dr0 => self.system.debug.set_address(0, value),
            SystemRegister::Dr1 => self.system.debug.set_address(1, value),
            SystemRegister::Dr2 => self.system.debug.set_address(2, value),
            SystemRegister::Dr3 => self.system.debug.set_address(3, value),
            SystemRegister::Dr6 => self.vmcb.save.dr6 = Debug::status(value),
            SystemRegister::Dr7 => {
                self.system.debug.set_control(value);
                // What is armed goes in with the next VMRUN.
                self.vmcb.save.dr7 = Debug::DISARMED;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    const PE: u64 = 1;
    const TS: u64 = 1 << 3;
    const ET: u64 = 1 << 4;
    const NE: u64 = 1 << 5;
    const NW: u64 = 1 << 29;
    const CD: u64 = 1 << 30;
    const PG: u64 = 1 << 31;
    const PAE: u64 = 1 << 5;
    const SCE: u64 = 1;
    const LME: u64 = 1 << 8;
    const LMA: u64 = 1 << 10;
    const SVME: u64 = 1 << 12;

    fn vcpu(cr0: u64, cr4: u64, efer: u64) -> Box<Vcpu> {
        let mut vcpu = Box::new(Vcpu::STOPPED);
        vcpu.set_mode(cr0, cr4, efer);
        vcpu
    }

    #[test]
    fn the_cpu_never_runs_a_state_that_it_or_qemu_does_not_come_back_from() {
        for bits in 0..1 << 9 {
            let bit = |place: u32, value: u64| if bits & 1 << place != 0 { value } else { 0 };
            let cr0 = bit(0, PE)
                | bit(1, NE)
                | bit(2, NW)
                | bit(3, CD)
                | bit(4, PG)
                | bit(5, TS)
                | bit(8, ET);
            let vcpu = vcpu(cr0, bit(6, PAE), bit(7, LME) | SCE);
            let save = &vcpu.vmcb.save;
            assert_eq!(save.cr0 & NE, NE, "{cr0:#x}");
            assert!(save.cr0 & NW == 0 || save.cr0 & CD != 0, "{cr0:#x}");
            assert!(save.cr0 & PG == 0 || save.cr0 & PE != 0, "{cr0:#x}");
            let long = save.cr0 & PG != 0 && save.cr4 & PAE != 0 && vcpu.efer() & LME != 0;
            assert_eq!(save.efer, SVME | SCE | if long { LME | LMA } else { 0 });
            assert_eq!(vcpu.cr0(), cr0, "the guest sees what it wrote");
            assert_eq!(vcpu.efer() & !LMA, SCE | bit(7, LME));
            let reads = vcpu.vmcb.control.intercept_cr_reads & CR0 != 0;
            let writes = vcpu.vmcb.control.intercept_cr_writes & CR0 != 0;
            assert_eq!(
                writes, reads,
                "{cr0:x}: a write is asked for where it would change nothing"
            );
            assert_eq!(
                reads,
                save.cr0 != cr0,
                "reads exit exactly while the values differ"
            );
            assert_eq!(
                vcpu.vmcb.control.intercept_exceptions & 1 << 16 != 0,
                cr0 & NE == 0
            );
        }
    }

    #[test]
    fn what_the_guest_changes_without_an_exit_is_kept() {
        let mut vcpu = vcpu(PE | ET, 0, 0);
        vcpu.vmcb.save.cr0 |= TS;
        assert_eq!(vcpu.cr0(), PE | ET | TS);
        vcpu.set_system(SystemRegister::Cr4, PAE, 0);
        assert_eq!(
            (vcpu.cr0(), vcpu.vmcb.save.cr0),
            (PE | ET | TS, PE | ET | TS | NE)
        );
    }

    #[test]
    fn long_mode_comes_and_goes_with_paging_in_any_order_of_pae_and_lme() {
        let mut vcpu = vcpu(PE, 0, 0);
        vcpu.set_system(SystemRegister::Efer, LME, 0);
        assert_eq!((vcpu.efer(), vcpu.vmcb.save.efer), (LME, SVME));
        vcpu.set_system(SystemRegister::Cr4, PAE, 0);
        vcpu.set_system(SystemRegister::Cr0, PE | PG, 0);
        assert_eq!(
            (vcpu.efer(), vcpu.vmcb.save.efer),
            (LME | LMA, SVME | LME | LMA)
        );
        vcpu.set_system(SystemRegister::Cr0, PE, 0);
        vcpu.set_system(SystemRegister::Cr4, 0, 0);
        assert_eq!((vcpu.efer(), vcpu.vmcb.save.efer), (LME, SVME));
    }

    #[test]
    fn a_change_of_mode_forgets_lengths_of_instructions_and_flushes() {
        let mut vcpu = vcpu(PE, 0, 0);
        vcpu.vmcb.control.tlb_control = 0;
        vcpu.set_system(SystemRegister::Cr4, PAE, 0);
        assert_eq!(vcpu.vmcb.control.tlb_control, 1);
        assert!(vcpu.skip.is_empty());
    }
}
