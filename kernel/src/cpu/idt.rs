//! The interrupt-descriptor table: all vectors that the architecture does not reserve, one way in ([`super::entry`]). AMD APM vol. 2 §8.2,
//! §4.8.4.

use spin::Once;
use x86_64::VirtAddr;
use x86_64::structures::idt::{Entry, ExceptionVector, InterruptDescriptorTable};

use super::entry;

/// The vectors with a stack of their own, in the order of [`Stacks`](super::stacks::Stacks). Ring 3 can cause #DB at SYSCALL's first
/// instruction, where there is no stack.
const SPECIAL: [ExceptionVector; 4] = [
    ExceptionVector::Debug,
    ExceptionVector::NonMaskableInterrupt,
    ExceptionVector::Double,
    ExceptionVector::MachineCheck,
];

static TABLE: Once<InterruptDescriptorTable> = Once::new();

fn gate<F>(entry: &mut Entry<F>, vector: u8) {
    // SAFETY: the vector's stub expects what the processor pushes for it, and leaves it as it came.
    let options = unsafe { entry.set_handler_addr(VirtAddr::new(entry::stub(vector))) };
    if let Some(stack) = (0..)
        .zip(SPECIAL)
        .find_map(|(stack, special)| (special as u8 == vector).then_some(stack))
    {
        // SAFETY: the task-state segment has a stack there, for this vector alone.
        unsafe { options.set_stack_index(stack) };
    }
}

fn table() -> InterruptDescriptorTable {
    let mut table = InterruptDescriptorTable::new();
    for vector in (0..=7).chain([16, 19, 20, 28]).chain(32..=255) {
        gate(&mut table[vector], vector);
    }
    let InterruptDescriptorTable {
        double_fault,
        invalid_tss,
        segment_not_present,
        stack_segment_fault,
        general_protection_fault,
        page_fault,
        alignment_check,
        machine_check,
        cp_protection_exception,
        vmm_communication_exception,
        security_exception,
        ..
    } = &mut table;
    gate(double_fault, ExceptionVector::Double as u8);
    gate(page_fault, ExceptionVector::Page as u8);
    gate(machine_check, ExceptionVector::MachineCheck as u8);
    for (entry, vector) in [
        (invalid_tss, ExceptionVector::InvalidTss),
        (segment_not_present, ExceptionVector::SegmentNotPresent),
        (stack_segment_fault, ExceptionVector::Stack),
        (general_protection_fault, ExceptionVector::GeneralProtection),
        (alignment_check, ExceptionVector::AlignmentCheck),
        (cp_protection_exception, ExceptionVector::ControlProtection),
        (
            vmm_communication_exception,
            ExceptionVector::VmmCommunication,
        ),
        (security_exception, ExceptionVector::Security),
    ] {
        gate(entry, vector as u8);
    }
    table
}

/// Loads the table, which is the same for all cores. The code segment is ring 0's by now.
pub(super) fn start() {
    TABLE.call_once(table).load();
}
