//! What is tried, by name. A case draws what it does, checks what it can know, and notes the rest.

use nix::libc::user_regs_struct;
use nix::sys::signal::Signal;

use crate::dice::Dice;
use crate::facts::Facts;
use crate::puppet::{CODE, INT3, Puppet, Wrong};

mod breakpoints;
mod bytes;
mod files;
mod fpu;
mod frames;
mod instructions;
mod jumps;
mod memory;
mod processes;
mod segments;
mod steps;
mod storms;
mod watchpoints;

pub(crate) use processes::ENDS;

/// What a case has to work with.
pub(crate) struct Ground<'g> {
    pub(crate) dice: &'g mut Dice,
    pub(crate) facts: &'g mut Facts,
    /// Where breakpoints are aimed at before all that is drawn.
    pub(crate) targets: &'g [u64],
    /// Whether there may be IRET and far returns: QEMU's TCG pops with the kernel's rights, so that under SMAP the kernel takes a fault.
    pub(crate) far: bool,
    /// Whether there may be code segments that begin within a page, and bases in DS: QEMU's TCG mixes addresses up there, and Linux may hang.
    pub(crate) astray: bool,
}

/// A case.
pub(crate) type Case = fn(&mut Ground<'_>) -> Result<(), Wrong>;

/// All of them.
pub(crate) const ALL: [(&str, Case); 14] = [
    ("breakpoints", breakpoints::at_home),
    ("sweep", breakpoints::sweep),
    ("watchpoints", watchpoints::run),
    ("steps", steps::run),
    ("instructions", instructions::run),
    ("bytes", bytes::run),
    ("jumps", jumps::run),
    ("frames", frames::run),
    ("segments", segments::run),
    ("fpu", fpu::run),
    ("storms", storms::run),
    ("memory", memory::run),
    ("processes", processes::run),
    ("files", files::run),
];

/// `mov eax, leaf; xor ecx, ecx; cpuid; dec ebp; jnz` back; then INT3.
fn cpuid_loop(leaf: u32) -> Vec<u8> {
    let [a, b, c, d] = leaf.to_le_bytes();
    vec![
        0xb8, a, b, c, d, 0x31, 0xc9, 0x0f, 0xa2, 0xff, 0xcd, 0x75, 0xf3, INT3,
    ]
}

/// Where the CPUID of that loop is.
const CPUID_AT: u64 = CODE + 7;

/// Lets a child leave the guest `times` with whatever breakpoints it has; they must not fire.
fn exits(puppet: &Puppet, leaf: u32, times: u64) -> Result<(), Wrong> {
    let code = cpuid_loop(leaf);
    puppet.load(&code)?;
    puppet.set(user_regs_struct {
        rbp: times,
        ..puppet.fresh()
    })?;
    match puppet.run_to(CODE + code.len() as u64)?.first() {
        None => Ok(()),
        Some((stop, rip)) => Err(format!(
            "a breakpoint that is nowhere near: {stop} at {rip:#x}"
        )),
    }
}

/// That it is this, or else what.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: T, wanted: T) -> Result<(), Wrong> {
    if is == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {is:x?}, not {wanted:x?}"))
    }
}

/// Signals that an instruction can raise.
fn is_exception(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SIGSEGV | Signal::SIGILL | Signal::SIGFPE | Signal::SIGBUS | Signal::SIGTRAP
    )
}
