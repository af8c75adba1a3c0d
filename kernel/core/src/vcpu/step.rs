//! Single steps: the guest's own over instructions that are completed for it, and those it must not see.
//!
//! A hidden step runs one instruction: that in an interrupt shadow, on CPUs that do not load the shadow at VMRUN (QEMU 7.2), or that for
//! which pages stand in ([`stand_ins`](super::stand_ins)). TF is set and every exception intercepted. It ends with whatever exit comes first, so that no message shows its TF. What the instruction
//! itself does with TF is put right: PUSHF has stored it; POPF and IRET have loaded another; INTn, SYSCALL and the like would carry it
//! away, so they run freely, and the kernel looks again soon (APM vol. 2 §8.2.2, §13.1.4, §15.12).

use atoll_protocol::units::Gva;
use atoll_protocol::vcpu::Exception;
use x86_64::registers::rflags::RFlags;

use super::vmcb::{Vmcb, exit};
use super::{Vcpu, walk};
use crate::machine::Machine;

const RFLAGS_TF: u64 = RFlags::TRAP_FLAG.bits();
/// DR6: a single step.
const BS: u64 = 1 << 14;
/// DR6: what raises #DB beside it: breakpoints, an access to debug registers, a task switch.
const OTHERS: u64 = 0xa00f;
const DR6_NONE: u64 = 0xffff_0ff0;
/// Exceptions with an error code (APM vol. 2 table 8-1).
const WITH_ERROR: u32 = 0x6022_7d00;

/// What an instruction does with TF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    None,
    Store,
    Load,
}

/// A hidden step, and what is known of it when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    used: Use,
    /// The guest's own TF.
    own: u64,
    /// The guest's DR6.
    dr6: u64,
    /// What the step has left in DR6.
    causes: u64,
    intercepts: u32,
    /// Whether the last exit has ended it.
    pub(super) ended: bool,
}

impl Step {
    pub(super) const NONE: Step = Step {
        used: Use::None,
        own: 0,
        dr6: DR6_NONE,
        causes: 0,
        intercepts: 0,
        ended: false,
    };

    /// Takes back what the step has changed.
    #[cold]
    #[inline(never)]
    pub(super) fn end(&mut self, vmcb: &mut Vmcb) {
        let Vmcb { control, save } = vmcb;
        self.ended = true;
        self.causes = save.dr6;
        let done = control.exit_code as u32 == exit::DEBUG && self.causes & BS != 0;
        if !(done && self.used == Use::Load) {
            save.rflags = save.rflags & !RFLAGS_TF | self.own;
        }
        self.put_back(vmcb);
    }

    /// A step that was begun for an entry that did not come is none.
    #[cold]
    #[inline(never)]
    pub(super) fn take_back(&self, vmcb: &mut Vmcb) {
        vmcb.save.rflags = vmcb.save.rflags & !RFLAGS_TF | self.own;
        self.put_back(vmcb);
    }

    fn put_back(&self, vmcb: &mut Vmcb) {
        vmcb.save.dr6 = self.dr6;
        vmcb.control.intercept_exceptions = self.intercepts;
    }
}

impl Vcpu {
    /// An instruction was completed for the guest: RF ends with it, and a guest that steps takes #DB.
    #[cold]
    #[inline(never)]
    pub(super) fn end_instruction(&mut self) {
        self.vmcb.save.rflags &= !RFlags::RESUME_FLAG.bits();
        if self.vmcb.save.rflags & RFLAGS_TF != 0 {
            self.vmcb.save.dr6 |= BS;
            self.trap(&Exception {
                vector: 1,
                ..Exception::default()
            });
        }
    }

    /// Begins a hidden step over the next instruction; false if that cannot be stepped.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_step<M: Machine>(&mut self, machine: &M) -> bool {
        let used = match self.opcode(machine) {
            // INT3, INTn, INTO, INT1; SYSCALL, SYSRET, SYSENTER.
            [0xcc..=0xce | 0xf1, _] | [0x0f, 0x05 | 0x07 | 0x34] => return false,
            [0x9c, _] => Use::Store,
            [0x9d | 0xcf, _] => Use::Load,
            _ => Use::None,
        };
        let Vmcb { control, save } = &mut self.vmcb;
        let (own, intercepts) = (save.rflags & RFLAGS_TF, control.intercept_exceptions);
        self.events.step = Step {
            used,
            own,
            dr6: save.dr6,
            causes: 0,
            intercepts,
            ended: false,
        };
        save.rflags |= RFLAGS_TF;
        save.dr6 = DR6_NONE;
        control.intercept_exceptions = u32::MAX;
        true
    }

    /// An exception that exits: the guest takes it. Of a hidden step, which has ended by now, it sees nothing.
    #[cold]
    pub(crate) fn excepted<M: Machine>(&mut self, machine: &mut M) {
        let control = &self.vmcb.control;
        let vector = control.exit_code as u8 & 0x1f;
        let has_error = (WITH_ERROR >> vector & 1) as u8;
        let (error, address) = (control.exit_info1 as u32, control.exit_info2);
        let exception = Exception {
            vector,
            has_error,
            error,
            address,
            ..Exception::default()
        };
        if control.exit_code as u32 != exit::DEBUG {
            self.raise(&exception);
        } else if self.events.step.ended {
            self.stepped(&exception, machine);
        } else if self.system.debug.is_fault(self.vmcb.save.dr6) {
            self.raise(&exception);
        } else {
            self.trap(&exception);
        }
    }

    /// Whether the last exit is the end of a hidden step, whose instruction is done.
    pub(crate) fn has_stepped(&self) -> bool {
        let Step { ended, causes, .. } = self.events.step;
        ended && causes & BS != 0 && self.vmcb.control.exit_code as u32 == exit::DEBUG
    }

    /// #DB, of a hidden step or during one: the guest's is what has another cause.
    fn stepped<M: Machine>(&mut self, exception: &Exception, machine: &mut M) {
        let Step {
            used, own, causes, ..
        } = self.events.step;
        if used == Use::Store && own == 0 && causes & BS != 0 {
            self.clear_stored(machine);
        }
        let causes = causes & if own != 0 { OTHERS | BS } else { OTHERS };
        if causes == 0 {
            return;
        }
        self.vmcb.save.dr6 |= causes;
        if self.system.debug.is_fault(causes) {
            self.raise(exception)
        } else {
            self.trap(exception)
        }
    }

    /// Clears TF in what PUSHF has just stored.
    fn clear_stored<M: Machine>(&self, machine: &mut M) {
        let save = &self.vmcb.save;
        let [_, _, ss, ..] = &save.segments;
        let big = ss.attributes & 1 << 10 != 0;
        let at = match (self.long(), big) {
            (true, _) => save.rsp.wrapping_add(1),
            (false, true) => ss.base.wrapping_add(save.rsp).wrapping_add(1) & 0xffff_ffff,
            (false, false) => ss.base.wrapping_add(save.rsp & 0xffff).wrapping_add(1) & 0xffff_ffff,
        };
        let mut byte = [0];
        if let Some(found) = walk::translate(self, machine, Gva(at))
            && machine.guest_read(found.gpa, &mut byte)
        {
            let [flags] = byte;
            machine.guest_write(found.gpa, &[flags & !1]);
        }
    }
}
