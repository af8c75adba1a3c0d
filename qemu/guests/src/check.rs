//! One line per check, on the console: what came out, and whether that is what should.
//!
//! Every line of a guest's output says the same directly in QEMU and on Atoll, but for those that begin with [`OWN`]: they are about what
//! what only Atoll has, and are only made there. And where QEMU by itself does not do what the manuals say, a line says so in both runs
//! ([`DEVIATION`], [`LEFT`]); `docs/qemu-deviations.md` is made from these.

use core::arch::x86_64::__cpuid;
use core::fmt::{Debug, Display};

use crate::println;

/// Begins the lines that only Atoll's run has.
pub const OWN: &str = "own ";
/// Begins the lines about what QEMU by itself does not do as the manuals say, and Atoll does.
pub const DEVIATION: &str = "deviation ";
/// Begins the lines about what neither does: a guest's instruction that Atoll leaves to QEMU's CPU.
pub const LEFT: &str = "left ";
/// The leaf with Atoll's own signature.
const SIGNATURE: u32 = 0x4000_0100;

/// Begins a section: the checks up to the next belong to it.
pub fn section(name: &str) {
    println!("[{name}]");
}

/// Ends the last section: the guest has come to its end.
pub fn end() {
    println!("[end]");
}

/// Checks that `got` is `want`.
pub fn equal<T: PartialEq + Debug>(name: impl Display, got: T, want: T) {
    if got == want {
        println!("ok {name} = {got:x?}");
    } else {
        println!("FAIL {name} = {got:x?}, not {want:x?}");
    }
}

/// Checks that `got` is `want`, on Atoll only.
pub fn own<T: PartialEq + Debug>(name: impl Display, got: impl FnOnce() -> T, want: T) {
    if on_atoll() {
        let got = got();
        if got == want {
            println!("{OWN}ok {name} = {got:x?}");
        } else {
            println!("{OWN}FAIL {name} = {got:x?}, not {want:x?}");
        }
    }
}

/// QEMU by itself deviates, and Atoll must not: `got` is what came out, `want` is what the manual says, and `why` is what QEMU does.
pub fn deviation<T: Debug>(name: impl Display, why: &str, got: T, want: T) {
    println!("{DEVIATION}{name} | {got:x?} | {want:x?} | {why}");
}

/// The same where QEMU by itself cannot be asked: then the guest would not live to tell, or be another one.
pub fn unasked<T: Debug>(name: impl Display, why: &str, got: impl FnOnce() -> T, want: T) {
    if on_atoll() {
        deviation(name, why, got(), want);
    } else {
        println!("{DEVIATION}{name} | not asked | {want:x?} | {why}");
    }
}

/// Neither QEMU nor Atoll does what the manual says, and that is known.
pub fn left<T: Debug>(name: impl Display, why: &str, got: T, want: T) {
    println!("{LEFT}{name} | {got:x?} | {want:x?} | {why}");
}

/// Shows a value, which the comparison of the two runs judges.
pub fn shown(name: impl Display, value: impl Debug) {
    println!("value {name} = {value:x?}");
}

/// Whether Atoll runs the guest.
#[must_use]
pub fn on_atoll() -> bool {
    let leaf = __cpuid(SIGNATURE);
    leaf.ebx.to_le_bytes() == *b"Atol"
}
