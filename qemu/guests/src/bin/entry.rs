//! Prints the time-stamp counter as it was when the guest began: where time is counted in instructions, those of the firmware before it.
#![no_std]
#![no_main]

use atoll_guests::println;

atoll_guests::guest!(main);

fn main() {
    // SAFETY: the instruction is there on every x86-64 CPU.
    let count = unsafe { core::arch::x86_64::_rdtsc() };
    println!("stamp {count}");
}
