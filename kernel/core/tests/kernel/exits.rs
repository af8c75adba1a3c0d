//! Exits of a guest that is not there: the state in which the processor leaves the control block, and the instruction in memory.

use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::{Vmcb, event, exit, intercept, vintr};
use atoll_protocol::units::Gpa;

use crate::script::ENTRY;
use crate::simulation::Simulation;

/// Whether the processor takes a virtual interrupt: it may, and no window is open for it.
fn is_interrupted(vmcb: &Vmcb) -> bool {
    let Vmcb { control, save } = vmcb;
    control.vintr & vintr::IRQ != 0
        && save.rflags & 1 << 9 != 0
        && control.intercepts1 & intercept::VINTR == 0
}

/// The guest has run for a while.
fn run(vmcb: &mut Vmcb) {
    if is_interrupted(vmcb) {
        vmcb.control.vintr &= !vintr::IRQ;
    }
}

/// What goes into the guest at its entry, in EVENTINJ's layout.
pub(crate) fn injected(vmcb: &Vmcb) -> u64 {
    let control = &vmcb.control;
    if control.event == 0 && is_interrupted(vmcb) {
        return event::VALID | event::INTERRUPT | control.vintr >> vintr::VECTOR_SHIFT & 0xff;
    }
    control.event
}

/// An exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// CPUID of a leaf.
    Cpuid(u32),
    /// RDMSR.
    ReadMsr(u32),
    /// WRMSR.
    WriteMsr(u32, u64),
    /// IN of so many bytes.
    In(u16, u8),
    /// OUT of so many bytes.
    Out(u16, u8, u32),
    /// INS (true) or OUTS of bytes.
    StringIo(u16, bool),
    /// A nested fault.
    Fault(u64),
    /// VMMCALL with a number.
    Hypercall(u64),
    /// HLT.
    Halt,
    /// An exit that is told by its code alone.
    Code(u32),
}

impl Exit {
    /// Puts the guest right behind this exit.
    pub(crate) fn set(self, kernel: &mut Simulation) {
        let vcpu = &mut kernel.state.vcpu;
        vcpu.stand = Stand::Runnable;
        run(&mut vcpu.vmcb);
        let flush = vcpu.vmcb.control.tlb_control;
        if (vcpu.cr0(), vcpu.vmcb.save.cr4, vcpu.efer()) != (1, 0, 0) {
            vcpu.set_mode(1, 0, 0);
        }
        // It was in that mode when it was entered.
        vcpu.vmcb.control.tlb_control = flush;
        vcpu.vmcb.save.segments = Default::default();
        let port =
            |port: u16, size: u8, more: u64| u64::from(port) << 16 | u64::from(size) << 4 | more;
        let (code, info1, info2, bytes): (u32, u64, u64, &[u8]) = match self {
            Exit::Cpuid(_) => (exit::CPUID, 0, 0, &[0x0f, 0xa2]),
            Exit::ReadMsr(_) => (exit::MSR, 0, 0, &[0x0f, 0x32]),
            Exit::WriteMsr(..) => (exit::MSR, 1, 0, &[0x0f, 0x30]),
            Exit::In(number, size) => (exit::IOIO, port(number, size, 1), ENTRY + 1, &[0xec]),
            Exit::Out(number, size, _) => (exit::IOIO, port(number, size, 0), ENTRY + 1, &[0xee]),
            Exit::StringIo(number, read) => (
                exit::IOIO,
                port(number, 1, 4 | u64::from(read)),
                ENTRY + 1,
                &[0x6c],
            ),
            Exit::Fault(gpa) => (exit::NESTED_FAULT, 4, gpa, &[0x8b, 0x00]),
            Exit::Hypercall(_) => (exit::VMMCALL, 0, 0, &[0x0f, 0x01, 0xd9]),
            Exit::Halt => (exit::HLT, 0, 0, &[0xf4]),
            Exit::Code(code) => (code, 0, 0, &[0x90]),
        };
        let control = &mut vcpu.vmcb.control;
        (control.exit_code, control.exit_info1, control.exit_info2) =
            (u64::from(code), info1, info2);
        vcpu.vmcb.save.rip = ENTRY;
        match self {
            Exit::Cpuid(leaf) => vcpu.set_register(0, u64::from(leaf)),
            Exit::ReadMsr(index) => vcpu.set_register(1, u64::from(index)),
            Exit::WriteMsr(index, value) => {
                vcpu.set_register(1, u64::from(index));
                vcpu.set_register(0, value & 0xffff_ffff);
                vcpu.set_register(2, value >> 32);
            }
            Exit::Out(_, _, value) => vcpu.set_register(0, u64::from(value)),
            Exit::Hypercall(number) => vcpu.set_register(0, number),
            _ => {}
        }
        let machine = &mut kernel.state.machine;
        if machine.memory.size > ENTRY {
            machine.memory.write(Gpa(ENTRY), bytes);
        }
    }
}
