//! One line per check, on the console: what came out, and whether that is what should.
//!
//! Every line of a guest's output says the same directly in QEMU and on Atoll, but for those that begin with [`OWN`]: they are about what
//! the manuals leave open, or what QEMU does not do as the manuals say, and are only made on Atoll.

use core::arch::x86_64::__cpuid;
use core::fmt::{Debug, Display};

use crate::println;

/// Begins the lines that only Atoll's run has.
pub const OWN: &str = "own ";
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
