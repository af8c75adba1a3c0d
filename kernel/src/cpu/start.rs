//! Makes the running processor one of the kernel's cores.

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};

use super::core_id::CoreId;
use super::per_core::Core;
use super::stacks::STACKS;
use super::{control, gdt, idt};

/// Gives it core `id`'s segments and stacks, the gates, and the registers as the kernel keeps them.
pub(crate) fn start(id: CoreId) -> &'static Core {
    let core = Core::of(id);
    gdt::start(core, &STACKS[id]);
    idt::start();
    GsBase::write(core.address());
    KernelGsBase::write(VirtAddr::zero());
    control::start();
    core
}
