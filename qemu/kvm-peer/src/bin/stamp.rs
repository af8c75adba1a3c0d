//! Prints the time-stamp counter: under `-icount shift=0,sleep=off` the instructions since QEMU was started.

fn main() {
    // SAFETY: the instruction is there on every x86-64 CPU, and Linux allows it.
    let count = unsafe { core::arch::x86_64::_rdtsc() };
    println!("stamp {count}");
}
