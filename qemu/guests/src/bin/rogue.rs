//! Uses every server a little, then tells the rogue server to misbehave. All that it does is the same in every run: what memory, vaults
//! and registers hold at the end does not depend on the misdeed.
#![no_std]
#![no_main]

use core::arch::x86_64::__cpuid_count;

use atoll_guests::println;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

atoll_guests::guest!(main);

/// The rogue's counter.
const COUNT: u16 = 0x5e0;
/// A write makes it misbehave.
const MISBEHAVE: u16 = 0x5e1;

fn main() {
    println!("before: leaves add up to {:#x}", leaves());
    // The page attribute table with its two upper halves exchanged.
    let mut attributes = Msr::new(0x277);
    // SAFETY: reading the PAT has no effect.
    let before = unsafe { attributes.read() };
    // SAFETY: no page uses the attributes that change.
    unsafe { attributes.write(before.rotate_left(32)) };
    // Channel 2 of the interval timer, which interrupts nobody: what happens later does not depend on how long a misdeed takes.
    for (port, value) in [
        (0x43, 0xb6),
        (0x42, 0xff),
        (0x42, 0xff),
        (0x21, 0xff),
        (0xa1, 0xff),
        (0x70, 0x0f),
        (0x3ff, 0x5a),
    ] {
        write(port, value);
    }
    println!(
        "before: scratch {:#x}, mask {:#x}, status {:#x}",
        read(0x3ff),
        read(0x21),
        read(0x71)
    );
    for value in 1..=8 {
        write(COUNT, value);
    }
    println!("before: the rogue has counted to {}", read(COUNT));
    write(MISBEHAVE, 1);
    println!("after: nobody stopped the rogue");
}

fn leaves() -> u32 {
    (0..8)
        .map(|leaf| __cpuid_count(leaf, 0))
        .fold(0, |sum, found| {
            sum.rotate_left(5) ^ found.eax ^ found.ebx ^ found.ecx
        })
}

fn write(port: u16, value: u8) {
    // SAFETY: these are registers of devices that know nothing of memory.
    unsafe { Port::new(port).write(value) };
}

fn read(port: u16) -> u8 {
    // SAFETY: as `write`.
    unsafe { Port::new(port).read() }
}
