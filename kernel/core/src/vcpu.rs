//! A virtual CPU: its registers, its events and where it stands.

pub mod events;
pub mod skip;
mod step;
pub mod vmcb;
pub mod walk;

use atoll_protocol::effect::Forward;
use atoll_protocol::message::Leaf;
use atoll_protocol::vcpu::{Context, Exception, InitialState, Registers, SystemRegister};

use self::events::{Events, NOWHERE};
use self::skip::SkipCache;
use self::step::RFLAGS_TF;
use self::vmcb::{Save, Vmcb, vintr};

/// EFER.SVME: always set in the VMCB, never seen by the guest.
pub const EFER_SVME: u64 = 1 << 12;
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
    /// XCR0.
    pub xcr0: u64,
    /// Where it stands.
    pub stand: Stand,
    /// Offers, windows and injection.
    pub events: Events,
    /// Lengths of instructions that exited before.
    pub skip: SkipCache,
}

impl Vcpu {
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
        if number < 16 { self.register(number) } else { self.register(number & 3) >> 8 & 0xff }
    }

    /// What a forwarded access writes.
    #[inline(always)]
    pub(crate) fn to_write(&self, forward: &Forward) -> u64 {
        let value = if forward.source == Forward::IMMEDIATE { forward.value } else { self.operand(usize::from(forward.source)) };
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
            (16..=19, _) => self.set_register(number & 3, self.register(number & 3) & !0xff00 | (value & 0xff) << 8),
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
        if self.vmcb.save.rflags & RFLAGS_TF != 0 {
            self.trap();
        }
    }

    /// What an instruction emulator needs.
    #[inline(always)]
    pub fn context(&self) -> Context {
        let Save { segments, rip, rflags, cr0, cr3, cr4, efer, cpl, .. } = &self.vmcb.save;
        let [_, cs, ..] = segments;
        Context {
            rip: *rip,
            cs_base: cs.base,
            rflags: *rflags,
            cr0: *cr0,
            cr3: *cr3,
            cr4: *cr4,
            efer: *efer & !EFER_SVME,
            cs_attributes: cs.attributes,
            cpl: *cpl,
            reserved: [0; 5],
        }
    }

    /// What `NeedRegisters` adds.
    pub fn registers(&self) -> Registers {
        let mut general = self.general;
        general[RAX] = self.vmcb.save.rax;
        general[RSP] = self.vmcb.save.rsp;
        Registers { general, segments: self.vmcb.save.segments, cr2: self.vmcb.save.cr2 }
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
        (save.cr0, save.cr3, save.cr4) = (state.cr0, state.cr3, state.cr4);
        save.efer = state.efer | EFER_SVME;
        (save.dr6, save.dr7) = (0xffff_0ff0, 0x400);
        save.pat = 0x0007_0406_0007_0406;
        self.xcr0 = 1;
        self.stand = Stand::Runnable;
        self.events = Events::NONE;
    }

    /// Sets a system register; `now` is for the TSC.
    pub fn set_system(&mut self, register: SystemRegister, value: u64, now: u64) {
        let Vmcb { control, save } = &mut self.vmcb;
        match register {
            SystemRegister::Cr0 => {
                let paging = 1 << 31;
                // With long mode enabled the CPU itself sets LMA when paging goes on (APM vol. 2 §14.6.2); an emulated write must, too.
                if save.efer & 1 << 8 != 0 && (save.cr0 ^ value) & paging != 0 {
                    save.efer = save.efer & !(1 << 10) | (value & paging) >> 21;
                }
                save.cr0 = value;
                control.tlb_control = 1;
            }
            SystemRegister::Cr2 => save.cr2 = value,
            SystemRegister::Cr3 => {
                save.cr3 = value;
                control.tlb_control = 1;
            }
            SystemRegister::Cr4 => {
                save.cr4 = value;
                control.tlb_control = 1;
            }
            SystemRegister::Efer => {
                save.efer = value | EFER_SVME;
                control.tlb_control = 1;
            }
            SystemRegister::Pat => save.pat = value,
            SystemRegister::Rflags => save.rflags = value | 2,
            SystemRegister::Rip => self.advance(value),
            SystemRegister::Xcr0 => self.xcr0 = value,
            SystemRegister::Tsc => control.tsc_offset = value.wrapping_sub(now),
            SystemRegister::TaskPriority => control.vintr = control.vintr & !vintr::TPR | value & 0xf,
        }
    }

    /// Lets the guest take an exception before its next instruction.
    pub fn raise(&mut self, exception: &Exception) {
        if exception.vector == 14 {
            self.vmcb.save.cr2 = exception.address;
        }
        self.events.raise(exception);
    }
}
