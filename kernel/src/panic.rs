//! A broken assumption of the kernel's own: says which, and ends the machine. Nothing that a server or a guest does leads here.

use core::panic::PanicInfo;

use crate::host::exit::{HYPERVISOR_FAULT, exit};
use crate::log;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log!("hypervisor fault: {info}");
    exit(HYPERVISOR_FAULT)
}
