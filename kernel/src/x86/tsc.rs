//! The time-stamp counter, the kernel's only clock, and how fast it is.
//!
//! The local APIC's timer is measured against channel 2 of the PIT, whose rate is fixed, and the TSC against the timer, which is finer.
//! The window grows until what a single reading leaves open (another interrupt of the host's, under TCG) is small against it; under
//! icount that is at once. Intel 8254 data sheet; AMD APM vol. 2 §13.2.4.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atoll_protocol::units::Ticks;

use super::{lapic, port};

/// What the PIT counts in a second.
const PIT_HZ: u64 = 1_193_182;
/// The shortest window in PIT counts: 2 ms.
const SHORTEST: u16 = 2_386;
/// The longest: 30 ms; the counter wraps at 55 ms.
const LONGEST: u16 = 35_795;
/// How many times shorter than the window a reading must be.
const PRECISION: u64 = 10_000;
/// Readings of which the quickest counts.
const ATTEMPTS: usize = 16;
/// Timers run at a multiple of this, if the PIT says so to 1 in [`ROUND_WITHIN`].
const ROUND_HZ: u64 = 1_000_000;
/// What the PIT is good for, delays included.
const ROUND_WITHIN: u64 = 4_000;
/// The quickest reading where a tick is an instruction; a real one takes longer, an emulated one much longer.
const INSTRUCTIONS_OF_READING: u64 = 16;

static KHZ: AtomicU64 = AtomicU64::new(0);
static COUNTS_INSTRUCTIONS: AtomicBool = AtomicBool::new(false);

/// Now.
#[inline(always)]
pub(crate) fn now() -> Ticks {
    // SAFETY: RDTSC touches no memory.
    Ticks(unsafe { core::arch::x86_64::_rdtsc() })
}

/// Ticks in a millisecond; 0 before calibration.
#[inline(always)]
pub(crate) fn khz() -> u64 {
    KHZ.load(Ordering::Relaxed)
}

/// Whether a tick is an instruction (icount), so that nothing the host does takes time.
pub(crate) fn counts_instructions() -> bool {
    COUNTS_INSTRUCTIONS.load(Ordering::Relaxed)
}

/// Microseconds since the counter started; 0 before calibration.
pub(crate) fn micros() -> u64 {
    (u128::from(now().0) * 1_000).checked_div(u128::from(khz())).map_or(0, |micros| micros as u64)
}

/// The span that lasts so many microseconds.
pub(crate) fn span_of_micros(micros: u64) -> Ticks {
    Ticks((u128::from(micros) * u128::from(khz()) / 1_000) as u64)
}

/// Both counters at one moment, and the ticks that it took to read them.
#[derive(Clone, Copy)]
struct Reading {
    tsc: u64,
    timer: u64,
    took: u64,
}

#[inline(never)]
fn reading() -> Reading {
    let mut best = Reading { tsc: 0, timer: 0, took: u64::MAX };
    for _ in 0..ATTEMPTS {
        let before = now().0;
        let timer = lapic::counted();
        let took = now().0 - before;
        if took < best.took {
            best = Reading { tsc: before + took / 2, timer, took };
        }
    }
    best
}

fn pit_count() -> u16 {
    port::write::<u8>(0x43, 0x80); // latch channel 2
    let low = port::read::<u8>(0x42);
    u16::from_le_bytes([low, port::read::<u8>(0x42)])
}

/// Watches the PIT count; gives its count and the timer's when they were read in the quickest succession.
#[inline(never)]
fn pit_edge() -> (u16, u64) {
    let mut best = (u64::MAX, 0, 0);
    let (mut last_count, mut last_timer) = (pit_count(), lapic::counted());
    for _ in 0..ATTEMPTS {
        let (count, timer) = loop {
            let (count, timer) = (pit_count(), lapic::counted());
            if count != last_count {
                break (count, timer);
            }
            last_timer = timer;
        };
        best = best.min((timer - last_timer, timer, count));
        (last_count, last_timer) = (count, timer);
    }
    (best.2, best.1)
}

/// Measures; a few milliseconds.
pub(crate) fn calibrate() {
    port::write::<u8>(0x61, port::read::<u8>(0x61) & !2 | 1); // channel 2 counts, the speaker is off
    port::write::<u8>(0x43, 0xb0); // channel 2, both bytes, counts down once
    port::write::<u8>(0x42, 0xff);
    port::write::<u8>(0x42, 0xff);
    lapic::start_counting();

    let (pit_start, timer_start) = pit_edge();
    let start = reading();
    let (pit, timer, end) = loop {
        let (pit_now, timer_now) = pit_edge();
        let pit = pit_start.wrapping_sub(pit_now);
        if pit >= SHORTEST {
            let end = reading();
            if (start.took + end.took) * PRECISION < end.tsc - start.tsc || pit >= LONGEST {
                break (pit, timer_now - timer_start, end);
            }
        }
    };
    lapic::disarm();

    let timer_hz = round(timer * PIT_HZ / u64::from(pit));
    let (tsc_ticks, timer_ticks) = (end.tsc - start.tsc, (end.timer - start.timer).max(1));
    let khz = u128::from(tsc_ticks) * u128::from(timer_hz) / u128::from(timer_ticks) / 1_000;
    KHZ.store(khz as u64, Ordering::Relaxed);
    COUNTS_INSTRUCTIONS.store(end.took < INSTRUCTIONS_OF_READING, Ordering::Relaxed);
    lapic::set_ratio(timer_ticks, tsc_ticks);
}

/// The multiple of [`ROUND_HZ`] that is near enough, else as measured.
fn round(hz: u64) -> u64 {
    let rounded = (hz + ROUND_HZ / 2) / ROUND_HZ * ROUND_HZ;
    if rounded.abs_diff(hz) * ROUND_WITHIN < hz { rounded } else { hz }
}
