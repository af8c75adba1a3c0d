//! Says hello, and on what it runs.
#![no_std]
#![no_main]

use core::arch::x86_64::__cpuid;

use atoll_guests::println;

atoll_guests::guest!(main);

/// First of the leaves that belong to hypervisors.
const HYPERVISOR: u32 = 0x4000_0000;

fn main() {
    println!("Hello from inside Atoll");
    let leaf = __cpuid(HYPERVISOR);
    println!(
        "The hypervisor signs as \"{}\"",
        Signature([leaf.ebx, leaf.ecx, leaf.edx])
    );
}

/// Twelve characters in three registers.
struct Signature([u32; 3]);

impl core::fmt::Display for Signature {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for byte in self.0.iter().flat_map(|register| register.to_le_bytes()) {
            let shown = if byte.is_ascii_graphic() {
                char::from(byte)
            } else {
                '.'
            };
            write!(formatter, "{shown}")?;
        }
        Ok(())
    }
}
