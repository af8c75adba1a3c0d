//! The local APIC: passes the 8259s' interrupts on, and has the one-shot timer behind all of the kernel's deadlines.
//!
//! Memory-mapped (QEMU 7.2 has no x2APIC, nor a TSC deadline), at its reset address. AMD APM vol. 2 §16.3, §16.4.1.

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_protocol::units::{Hpa, Ticks};

use crate::memory::direct;

/// Vector of the timer.
pub(crate) const TIMER_VECTOR: u8 = 0x30;
/// Vector of interrupts that are none.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

const BASE: Hpa = Hpa(0xfee0_0000);
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const TIMER: u64 = 0x320;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const INITIAL_COUNT: u64 = 0x380;
const CURRENT_COUNT: u64 = 0x390;
const DIVIDE: u64 = 0x3e0;

/// SPURIOUS: the APIC is on.
const ENABLE: u32 = 1 << 8;
/// DIVIDE: by 1.
const BY_ONE: u32 = 0b1011;
/// LINT0: an 8259 is there, and gives the vector.
const EXTERNAL: u32 = 0b111 << 8;
/// LINT1: NMI.
const NMI: u32 = 0b100 << 8;

/// Timer ticks per TSC tick, as a fraction of 2^32.
static RATIO: AtomicU64 = AtomicU64::new(1 << 32);

fn read(register: u64) -> u32 {
    // SAFETY: the APIC's page is in the direct map, uncached, and no register that is read here has an effect.
    unsafe { direct::pointer::<u32>(Hpa(BASE.0 + register)).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: the APIC's page is in the direct map, uncached; its registers change interrupts, not memory.
    unsafe { direct::pointer::<u32>(Hpa(BASE.0 + register)).write_volatile(value) }
}

/// Switches it on: external interrupts through, the timer one-shot and stopped.
pub(crate) fn start() {
    write(SPURIOUS, ENABLE | u32::from(SPURIOUS_VECTOR));
    write(LINT0, EXTERNAL);
    write(LINT1, NMI);
    write(DIVIDE, BY_ONE);
    write(TIMER, u32::from(TIMER_VECTOR));
    write(INITIAL_COUNT, 0);
}

/// Has the timer interrupt `span` from now, instead of whenever it would have; at most some seconds ahead, then it comes early.
pub(crate) fn arm(span: Ticks) {
    let count = (u128::from(span.0) * u128::from(RATIO.load(Ordering::Relaxed))) >> 32;
    write(
        INITIAL_COUNT,
        u32::try_from(count).unwrap_or(u32::MAX).max(1),
    );
}

/// Ends the interrupt being served.
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// For calibration: starts the count down from the top.
pub(super) fn start_counting() {
    write(INITIAL_COUNT, u32::MAX);
}

/// For calibration: how far it has counted.
#[inline(always)]
pub(super) fn counted() -> u64 {
    u64::from(u32::MAX - read(CURRENT_COUNT))
}

/// Ends the calibration with the timer's rate against the TSC's.
pub(super) fn set_ratio(timer_ticks: u64, tsc_ticks: u64) {
    write(INITIAL_COUNT, 0);
    RATIO.store((timer_ticks << 32) / tsc_ticks.max(1), Ordering::Relaxed);
}
