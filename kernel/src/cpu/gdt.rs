//! Segments and the task-state segment: ring 3, and a stack for each way into ring 0.
//!
//! The order is what SYSCALL and SYSRET compute from STAR: kernel code and data, then user data and code. AMD APM vol. 2 §4.8, §12.2.5,
//! §8.9.4 (interrupt-stack table).

use x86_64::PrivilegeLevel::{Ring0, Ring3};
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use super::per_core::Core;
use super::stacks::{Stack, Stacks};

/// Ring 0's code.
pub(crate) const KERNEL_CODE: SegmentSelector = SegmentSelector::new(1, Ring0);
/// Ring 0's data.
pub(crate) const KERNEL_DATA: SegmentSelector = SegmentSelector::new(2, Ring0);
/// Ring 3's data.
pub(crate) const USER_DATA: SegmentSelector = SegmentSelector::new(3, Ring3);
/// Ring 3's code.
pub(crate) const USER_CODE: SegmentSelector = SegmentSelector::new(4, Ring3);
/// The task-state segment.
const TASK: SegmentSelector = SegmentSelector::new(5, Ring0);

/// Builds and loads a core's tables.
pub(super) fn start(core: &'static Core, stacks: &'static Stacks) {
    let tss = core.tss.call_once(|| {
        let mut tss = TaskStateSegment::new();
        let [_, interrupt, special @ ..] = stacks;
        tss.privilege_stack_table[0] = interrupt.top();
        tss.interrupt_stack_table =
            core::array::from_fn(|slot| special.get(slot).map_or(VirtAddr::zero(), Stack::top));
        tss
    });
    let gdt = core.gdt.call_once(|| {
        let mut gdt = GlobalDescriptorTable::empty();
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        gdt.append(Descriptor::user_data_segment());
        gdt.append(Descriptor::user_code_segment());
        gdt.append(Descriptor::tss_segment(tss));
        gdt
    });
    gdt.load();
    // SAFETY: the selector is 64-bit code of ring 0 in the table just loaded.
    unsafe { CS::set_reg(KERNEL_CODE) };
    // SAFETY: the selector is data of ring 0 in the table just loaded.
    unsafe { SS::set_reg(KERNEL_DATA) };
    // SAFETY: the selector is an available task-state segment in the table just loaded.
    unsafe { load_tss(TASK) };
}
