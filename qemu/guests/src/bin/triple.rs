//! A triple fault: an exception without an IDT. The CPU shuts down, and with it the machine.
#![no_std]
#![no_main]

use atoll_guests::println;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

atoll_guests::guest!(main);

fn main() {
    println!("before the fault");
    let nothing = DescriptorTablePointer {
        limit: 0,
        base: VirtAddr::new(0),
    };
    // SAFETY: that no exception can be delivered is what this guest is for.
    unsafe { lidt(&nothing) };
    x86_64::instructions::interrupts::int3();
    println!("after the fault");
}
