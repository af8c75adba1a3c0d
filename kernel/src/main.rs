//! Atoll's kernel: ring 0 on x86-64.
//!
//! It handles VM exits, interrupt windows and TLB flushes, and gives everything else to servers in ring 3. The portable part (tickets,
//! mailboxes, check and commit) is `atoll-core`; here is what needs the processor. Interrupts are off except where they are expected
//! ([`cpu::interrupts`]); there is no heap; every address space shares the kernel's half
//! ([`memory::space`]).

#![no_std]
#![no_main]

mod boot;
mod cpu;
mod host;
mod machine;
mod memory;
mod panic;
mod svm;
