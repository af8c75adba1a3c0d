//! Instructions that exit by themselves.

use super::measure::{Figure, figure, nothing, ticks_of};

/// HWCR (APM vol. 2, 3.2.10): a register that the msr server answers, and that KVM answers in its kernel. Zero may be written on both.
const HWCR: u64 = 0xc001_0015;
/// The scratch register of the first serial port: no side effects.
const SCRATCH: u64 = 0x3ff;
/// The mask of the first 8259.
const PIC_MASK: u64 = 0x21;
/// A hypercall that nobody knows.
const UNKNOWN_CALL: u64 = 0x7fff;

/// CPUID, leaf 0.
pub fn cpuid() -> Figure {
    // SAFETY: it changes registers only.
    figure("cpuid", nothing(), |_| unsafe {
        ticks_of!("cpuid", 0, 0, 0, 0)
    })
}

/// RDMSR of HWCR.
pub fn rdmsr() -> Figure {
    // SAFETY: reading it has no effect.
    figure("rdmsr", nothing(), |_| unsafe {
        ticks_of!("rdmsr", 0, HWCR, 0, 0)
    })
}

/// WRMSR of zero to HWCR.
pub fn wrmsr() -> Figure {
    // SAFETY: zero is its value after a reset.
    figure("wrmsr", nothing(), |_| unsafe {
        ticks_of!("wrmsr", 0, HWCR, 0, 0)
    })
}

/// OUT to the serial port's scratch register.
pub fn out() -> Figure {
    // SAFETY: the register is for this.
    figure("out", nothing(), |_| unsafe {
        ticks_of!("out dx, al", 0x5a, 0, SCRATCH, 0)
    })
}

/// IN from the serial port's scratch register.
pub fn inp() -> Figure {
    // SAFETY: reading it has no effect.
    figure("in", nothing(), |_| unsafe {
        ticks_of!("in al, dx", 0, 0, SCRATCH, 0)
    })
}

/// IN from the 8259's mask.
pub fn pic_in() -> Figure {
    // SAFETY: reading it has no effect.
    figure("pic_in", nothing(), |_| unsafe {
        ticks_of!("in al, dx", 0, 0, PIC_MASK, 0)
    })
}

/// VMMCALL with a number that nobody knows.
pub fn vmmcall() -> Figure {
    // SAFETY: an unknown call changes EAX only.
    figure("vmmcall", nothing(), |_| unsafe {
        ticks_of!("vmmcall", UNKNOWN_CALL, 0, 0, 0)
    })
}
