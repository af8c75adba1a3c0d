//! A broken assumption of the kernel's own: says which, and ends the machine. Nothing that a server or a guest does leads here.

use core::panic::PanicInfo;

use crate::log;
use crate::x86::exit::{HYPERVISOR_FAULT, exit};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log!("hypervisor fault: {info}");
    exit(HYPERVISOR_FAULT)
}
