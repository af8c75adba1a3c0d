//! What a sequence may have changed: looked at, folded into a digest, and made sane again.

use core::arch::asm;

use crate::apic::{self, MASKED, SELECT, WINDOW, out};
use crate::fuzz::sequence::Devices;
use crate::memory::store;
use crate::system::{EFER, read_msr, write_msr};
use crate::traps;

/// Where the local APIC's timer and the serial port interrupt.
pub const TIMER: u8 = 0xf1;
/// See there.
pub const SERIAL: u8 = 0xe4;
/// Ticks of the timer: so many that a slow host comes to something between two interrupts.
const PERIOD: u32 = 4_000_000;
/// RFLAGS but for RF: of faults that the CPU raises by itself QEMU leaves it clear.
const FLAGS: u64 = !(1 << 16);

/// DR6: a single step.
const STEP: u64 = 1 << 14;

macro_rules! from {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: the register is only read.
        unsafe { asm!(concat!("mov {}, ", $register), out(reg) value) };
        value
    }};
}

macro_rules! to {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the value is one that this guest has begun with.
        unsafe { asm!(concat!("mov ", $register, ", {}"), in(reg) value) };
    }};
}

/// Control and debug registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// CR0, CR3, CR4, CR8.
    pub control: [u64; 4],
    /// DR0 to DR3, DR6, DR7.
    pub debug: [u64; 6],
    /// EFER.
    pub efer: u64,
}

impl State {
    /// As it is now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            control: [from!("cr0"), from!("cr3"), from!("cr4"), from!("cr8")],
            debug: [
                from!("dr0"),
                from!("dr1"),
                from!("dr2"),
                from!("dr3"),
                from!("dr6"),
                from!("dr7"),
            ],
            efer: read_msr(EFER),
        }
    }

    /// Folds all of it.
    #[must_use]
    pub fn fold(&self, digest: u64) -> u64 {
        // Which breakpoints that are not enabled DR6 shows beside a single step is the CPU's.
        let mut debug = self.debug;
        debug[4] &= if debug[4] & STEP == 0 { 0x600f } else { 0x6000 };
        self.control
            .into_iter()
            .chain(debug)
            .chain([self.efer])
            .fold(digest, fold)
    }

    /// Writes what is not as it was.
    pub fn restore(&self) {
        let now = Self::now();
        if now.debug != self.debug {
            to!("dr7", self.debug[5]);
            to!("dr6", self.debug[4]);
            to!("dr0", self.debug[0]);
            to!("dr1", self.debug[1]);
            to!("dr2", self.debug[2]);
            to!("dr3", self.debug[3]);
        }
        if now.control[1] != self.control[1] {
            to!("cr3", self.control[1]);
        }
        if now.control[2] != self.control[2] {
            to!("cr4", self.control[2]);
        }
        if now.control[0] != self.control[0] {
            to!("cr0", self.control[0]);
        }
        if now.control[3] != self.control[3] {
            to!("cr8", self.control[3]);
        }
        if now.efer != self.efer {
            let _ = write_msr(EFER, self.efer);
        }
        // SAFETY: the selectors are of the guest's own data segment, and none.
        unsafe {
            asm!("mov ds, {0:x}", "mov es, {0:x}", "mov ss, {0:x}", "mov fs, {1:x}", "mov gs, {1:x}", in(reg) 0x10, in(reg) 0)
        };
        let control: u32 = 0x1f80;
        // SAFETY: the FPU's state is nobody's between two sequences.
        unsafe { asm!("fninit", "ldmxcsr [{}]", in(reg) &raw const control) };
    }
}

/// What sequences read that nobody else changes, set: so a sequence that only one machine has run leaves nothing to the next.
pub fn begin(value: u64) {
    store(SELECT, value as u32 & 0xff);
    store(apic::ICR_HIGH, value as u32);
    out(0x3ff, value as u8);
    to!("cr2", value);
}

/// One step of a digest.
#[must_use]
pub fn fold(digest: u64, value: u64) -> u64 {
    (digest ^ value)
        .wrapping_mul(0x100_0000_01b3)
        .rotate_left(17)
}

/// The flags that count.
#[must_use]
pub fn flags(rflags: u64) -> u64 {
    rflags & FLAGS
}

/// Interrupt controllers, timers and the serial port, whatever was written to them.
pub fn devices(which: Devices) {
    if which == Devices::None {
        return;
    }
    for port in [0xf0, 0xf1] {
        out(port, 0);
    }
    apic::start();
    store(apic::LOCAL + 0x2f0, MASKED);
    for entry in [0x330, 0x340, 0x360, 0x370] {
        store(apic::LOCAL + entry, MASKED);
    }
    if which == Devices::All {
        for pin in 0..24_u32 {
            entry(pin, MASKED, 0);
        }
    }
    serial();
    timer();
}

/// The periodic timer.
pub fn timer() {
    store(apic::LOCAL + 0x3e0, 0b1011);
    store(apic::LVT_TIMER, 1 << 17 | u32::from(TIMER));
    store(apic::INITIAL_COUNT, PERIOD);
}

/// The serial port: 8 bits, no loop, an interrupt for each byte that comes in.
fn serial() {
    for (register, value) in [(3, 0x80), (0, 1), (1, 0), (3, 3), (2, 1), (4, 0xb), (1, 1)] {
        out(0x3f8 + register, value);
    }
    entry(4, u32::from(SERIAL), 0);
}

/// An entry of the I/O APIC.
fn entry(pin: u32, low: u32, high: u32) {
    for (register, value) in [(0x11 + 2 * pin, high), (0x10 + 2 * pin, low)] {
        store(SELECT, register);
        store(WINDOW, value);
    }
}

/// Tables: the guest's own again.
pub fn tables() {
    traps::reload();
}
