//! A virtual CPU: its registers, its events and where it stands.

pub mod debug;
pub mod events;
pub mod skip;
mod stand_ins;
mod step;
pub mod system;
pub mod vmcb;
pub mod walk;

use atoll_protocol::effect::Forward;
use atoll_protocol::message::Leaf;
use atoll_protocol::vcpu::{Context, Exception, InitialState, Registers};
use x86_64::registers::rflags::RFlags;

use self::debug::Debug;
use self::events::{Events, NOWHERE};
use self::skip::SkipCache;
use self::system::System;
use self::vmcb::{Save, Vmcb, vintr};
use crate::quirks::Quirks;

const RAX: usize = 0;
const RSP: usize = 4;

/// Where a vCPU stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It has no state yet, or the machine was stopped.
    Stopped,
    /// It can be entered.
    Runnable,
    /// Its exit waits for a server.
    Waiting,
    /// It executed HLT.
    Halted,
}

/// A virtual CPU.
#[repr(C)]
pub struct Vcpu {
    /// The control block: first, since it must lie at a page boundary.
    pub vmcb: Vmcb,
    /// General registers in encoding order; RAX and RSP are in the VMCB.
    pub general: [u64; 16],
    /// Physical address of what VMLOAD brings back when the guest has exited: the half of the processor's state that VMRUN does not switch.
    /// Of the processor that runs this vCPU.
    pub host_state: u64,
    /// System registers as the guest sees them.
    pub system: System,
    /// XCR0.
    pub xcr0: u64,
    /// Where the host's GDT is, by which its state is told from the guest's.
    pub host_gdt: u64,
    /// What the processor that runs it does against the manual.
    pub quirks: Quirks,
    /// Where it stands.
    pub stand: Stand,
    /// Offers, windows and injection.
    pub events: Events,
    /// Lengths of instructions that exited before.
    pub skip: SkipCache,
}

/// Flags that end with an instruction, or show when it is done.
const PER_INSTRUCTION: u64 = RFlags::TRAP_FLAG.bits() | RFlags::RESUME_FLAG.bits();

impl Vcpu {
    /// Without a state.
    pub const STOPPED: Vcpu = Vcpu {
        vmcb: Vmcb::ZERO,
        general: [0; 16],
        host_state: 0,
        system: System::RESET,
        xcr0: 1,
        host_gdt: u64::MAX,
        quirks: Quirks::ALL,
        stand: Stand::Stopped,
        events: Events::NONE,
        skip: SkipCache::EMPTY,
    };

    /// A general register, by encoding order.
    #[inline(always)]
    pub fn register(&self, number: usize) -> u64 {
        match number {
            RAX => self.vmcb.save.rax,
            RSP => self.vmcb.save.rsp,
            _ => self.general.get(number).copied().unwrap_or(0),
        }
    }

    /// What an operand names: a general register, or (16 to 19) AH, CH, DH, BH.
    #[inline(always)]
    pub fn operand(&self, number: usize) -> u64 {
        if number < 16 {
            self.register(number)
        } else {
            self.register(number & 3) >> 8 & 0xff
        }
    }

    /// What a forwarded access writes.
    #[inline(always)]
    pub(crate) fn to_write(&self, forward: &Forward) -> u64 {
        let value = if forward.source == Forward::IMMEDIATE {
            forward.value
        } else {
            self.operand(usize::from(forward.source))
        };
        forward.cut(value)
    }

    /// Sets all 64 bits of a general register.
    #[inline(always)]
    pub fn set_register(&mut self, number: usize, value: u64) {
        match number {
            RAX => self.vmcb.save.rax = value,
            RSP => self.vmcb.save.rsp = value,
            _ => {
                if let Some(register) = self.general.get_mut(number) {
                    *register = value;
                }
            }
        }
    }

    /// Sets a part of a general register as an instruction of that operand size does: 4 bytes clear the upper half, fewer keep the rest.
    #[inline(always)]
    pub fn load_register(&mut self, number: usize, value: u64, width: u8) {
        match (number, width) {
            (16..=19, _) => self.set_register(
                number & 3,
                self.register(number & 3) & !0xff00 | (value & 0xff) << 8,
            ),
            (_, 8) => self.set_register(number, value),
            (_, 4) => self.set_register(number, value & 0xffff_ffff),
            (_, 2) => self.set_register(number, self.register(number) & !0xffff | value & 0xffff),
            _ => self.set_register(number, self.register(number) & !0xff | value & 0xff),
        }
    }

    /// What CPUID gives.
    #[inline(always)]
    pub(crate) fn set_leaf(&mut self, leaf: &Leaf) {
        self.set_register(0, u64::from(leaf.eax));
        self.set_register(1, u64::from(leaf.ecx));
        self.set_register(2, u64::from(leaf.edx));
        self.set_register(3, u64::from(leaf.ebx));
    }

    /// What RDMSR gives: EDX:EAX.
    #[inline(always)]
    pub(crate) fn set_msr_value(&mut self, value: u64) {
        self.set_register(0, value & 0xffff_ffff);
        self.set_register(2, value >> 32);
    }

    /// Goes on behind an emulated instruction; that ends an interrupt shadow, and is a step of a guest that steps.
    #[inline(always)]
    pub fn advance(&mut self, next_rip: u64) {
        self.vmcb.save.rip = next_rip;
        self.vmcb.control.shadow = 0;
        self.events.shadowed = NOWHERE;
        if self.vmcb.save.rflags & PER_INSTRUCTION != 0 {
            self.end_instruction();
        }
    }

    /// What an instruction emulator needs.
    #[inline(always)]
    pub fn context(&self) -> Context {
        let Save {
            segments,
            rip,
            rflags,
            cr3,
            cr4,
            cpl,
            ..
        } = &self.vmcb.save;
        let [_, cs, ..] = segments;
        Context {
            rip: *rip,
            cs_base: cs.base,
            rflags: *rflags,
            cr0: self.cr0(),
            cr3: *cr3,
            cr4: *cr4,
            efer: self.efer(),
            cs_attributes: cs.attributes,
            cpl: *cpl,
            tpr: (self.vmcb.control.vintr & vintr::TPR) as u8,
            reserved: [0; 4],
        }
    }

    /// Whether the save area holds the host's state: QEMU's TCG puts it there where it refuses a VMRUN.
    pub(crate) fn holds_host_state(&self) -> bool {
        self.vmcb.save.gdtr.base == self.host_gdt
    }

    /// What `NeedRegisters` adds.
    pub fn registers(&self) -> Registers {
        let mut general = self.general;
        general[RAX] = self.vmcb.save.rax;
        general[RSP] = self.vmcb.save.rsp;
        let Save {
            segments, cr2, dr6, ..
        } = self.vmcb.save;
        let [dr0, dr1, dr2, dr3] = self.system.debug.addresses();
        Registers {
            general,
            segments,
            cr2,
            debug: [dr0, dr1, dr2, dr3, dr6, self.system.debug.control()],
        }
    }

    /// The state before the first instruction.
    pub fn initialise(&mut self, state: &InitialState) {
        self.general = state.general;
        let save = &mut self.vmcb.save;
        save.rax = state.general[RAX];
        save.rsp = state.general[RSP];
        save.segments = state.segments;
        (save.gdtr, save.idtr, save.tr, save.ldtr) = (state.gdtr, state.idtr, state.tr, state.ldtr);
        (save.rip, save.rflags) = (state.rip, state.rflags | 2);
        save.cr3 = state.cr3;
        (save.dr6, save.dr7) = (Debug::status(0), Debug::DISARMED);
        save.pat = 0x0007_0406_0007_0406;
        self.system = System::RESET;
        self.set_mode(state.cr0, state.cr4, state.efer);
        self.xcr0 = 1;
        self.stand = Stand::Runnable;
        self.events = Events::NONE;
    }

    /// Lets the guest take an exception before its next instruction. A fault is pushed with RF, so that no instruction breakpoint comes
    /// again when its instruction is run again (APM vol. 2 §13.1.3).
    pub fn raise(&mut self, exception: &Exception) {
        self.vmcb.save.rflags |= RFlags::RESUME_FLAG.bits();
        self.trap(exception);
    }

    /// The same for one that comes behind an instruction.
    pub(crate) fn trap(&mut self, exception: &Exception) {
        if exception.vector == 14 {
            self.vmcb.save.cr2 = exception.address;
        }
        self.events.raise(exception);
    }
}
