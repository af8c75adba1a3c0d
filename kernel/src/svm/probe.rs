//! Finds out, with a guest of two instructions, what the processor does that its manual does not say.

use core::arch::naked_asm;

use atoll_core::vcpu::Vcpu;
use atoll_core::vcpu::vmcb::{Vmcb, exit, intercept, vintr};
use atoll_protocol::vcpu::Segment;
use x86_64::registers::control::{Cr0, Cr3, Cr4, Efer};
use x86_64::registers::rflags::RFlags;

use super::{asid, world};
use crate::cpu::core_id::CoreId;

/// Attributes of ring 0's 64-bit code, and of its data, in the VMCB's form.
const CODE: u16 = 0x29b;
const DATA: u16 = 0x93;
/// Exits for interrupts of the host's that are waited for to be over: none is expected.
const ATTEMPTS: usize = 16;

/// The guest: an instruction that is in an interrupt shadow, and one that is not.
#[unsafe(naked)]
extern "sysv64" fn shadowed_nop() {
    naked_asm!("nop", "hlt")
}

/// Whether VMRUN loses the interrupt shadow that the VMCB has: a virtual interrupt that waits then comes before the shadowed instruction.
///
/// The guest runs on the kernel's own tables, in its text, and can do nothing there. `vcpu` has run nothing yet, and is left as it was.
pub(crate) fn loses_shadow(core: CoreId, vcpu: &mut Vcpu) -> bool {
    let start = (shadowed_nop as *const ()).addr() as u64;
    let Vmcb { control, save } = &mut vcpu.vmcb;
    control.intercepts1 =
        intercept::INTR | intercept::NMI | intercept::VINTR | intercept::HLT | intercept::SHUTDOWN;
    control.intercepts2 = intercept::SVM;
    control.intercept_exceptions = u32::MAX;
    asid::assign(core, control);
    control.vintr = vintr::MASKING | vintr::IRQ | vintr::PRIORITY | vintr::IGNORE_TPR;
    control.shadow = 1;
    let [_, code, stack, ..] = &mut save.segments;
    for (segment, attributes) in [(code, CODE), (stack, DATA)] {
        *segment = Segment {
            attributes,
            limit: u32::MAX,
            ..Segment::default()
        };
    }
    save.cr0 = Cr0::read_raw();
    save.cr3 = Cr3::read().0.start_address().as_u64();
    save.cr4 = Cr4::read_raw();
    save.efer = Efer::read_raw();
    save.rflags = RFlags::INTERRUPT_FLAG.bits() | 2;
    save.rip = start;
    let mut found = None;
    for _ in 0..ATTEMPTS {
        world::enter(vcpu);
        let Vmcb { control, save } = &vcpu.vmcb;
        if control.exit_code != u64::from(exit::INTR) {
            // Anything but the window behind the instruction is not what the manual says.
            found = Some(control.exit_code != u64::from(exit::VINTR) || save.rip == start);
            break;
        }
    }
    vcpu.vmcb = Vmcb::ZERO;
    found.unwrap_or(true)
}
