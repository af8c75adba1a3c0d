//! The time-stamp counter, the kernel's only clock, and how fast it is.
//!
//! The PIT's channel 2, whose rate is fixed, tells the rate of the local APIC's timer, which is a round one as a rule; and the timer,
//! which is finer, that of the TSC. Counters are compared in the quickest of some readings, so that it does not matter when the host
//! takes the processor away. The window grows until what a reading leaves open is small against it; under
//! icount that is at once. Intel 8254 data sheet; AMD APM vol. 2 §13.2.4.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atoll_protocol::units::Ticks;

use super::{lapic, port};

/// What the PIT counts in a second.
const PIT_HZ: u64 = 1_193_182;
/// The shortest window in PIT counts: 4 ms, of which one count is less than 1 in [`ROUND_WITHIN`].
const SHORTEST: u64 = 4_773;
/// The longest: 30 ms; the counter wraps at 55 ms.
const LONGEST: u64 = 35_795;
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
static EXACT: AtomicBool = AtomicBool::new(false);

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

/// Whether a tick is an instruction, so that nothing the host does takes time.
pub(crate) fn counts_instructions() -> bool {
    EXACT.load(Ordering::Relaxed)
}

/// Microseconds since the counter started; 0 before calibration.
pub(crate) fn micros() -> u64 {
    (u128::from(now().0) * 1_000)
        .checked_div(u128::from(khz()))
        .map_or(0, |micros| micros as u64)
}

/// The span that lasts so many microseconds.
pub(crate) fn span_of_micros(micros: u64) -> Ticks {
    Ticks((u128::from(micros) * u128::from(khz()) / 1_000) as u64)
}

/// How many ticks it took to read another counter, the TSC meanwhile, and that counter: the quickest of some readings.
#[inline(never)]
fn reading(counter: impl Fn() -> u64) -> (u64, u64, u64) {
    let read = |_| {
        let before = now().0;
        let count = counter();
        let took = now().0 - before;
        (took, before + took / 2, count)
    };
    (0..ATTEMPTS).map(read).min().unwrap_or_default()
}

/// How far the PIT has counted.
fn pit() -> u64 {
    port::write::<u8>(0x43, 0x80); // latch channel 2
    let low = port::read::<u8>(0x42);
    u64::from(u16::MAX - u16::from_le_bytes([low, port::read::<u8>(0x42)]))
}

/// Measures, some milliseconds. True if a tick is an instruction (icount).
pub(crate) fn calibrate() -> bool {
    port::write::<u8>(0x61, port::read::<u8>(0x61) & !2 | 1); // channel 2 counts, the speaker is off
    port::write::<u8>(0x43, 0xb0); // channel 2, both bytes, counts down once
    port::write::<u8>(0x42, 0xff);
    port::write::<u8>(0x42, 0xff);
    lapic::start_counting();
    let (_, start_pit, pit_start) = reading(pit);
    let (start_took, start, timer_start) = reading(lapic::counted);
    loop {
        let (_, end_pit, pit_end) = reading(pit);
        let (took, end, timer_end) = reading(lapic::counted);
        let (ticks, timer_ticks) = (end - start, (timer_end - timer_start).max(1));
        let pit_counts = u64::from(pit_end.wrapping_sub(pit_start) as u16);
        if pit_counts >= LONGEST
            || pit_counts >= SHORTEST && (start_took + took) * PRECISION < ticks
        {
            let hz = (end_pit - start_pit) * PIT_HZ / pit_counts;
            let timer_hz =
                round((u128::from(hz) * u128::from(timer_ticks) / u128::from(ticks)) as u64);
            let khz = u128::from(ticks) * u128::from(timer_hz) / u128::from(timer_ticks) / 1_000;
            KHZ.store(khz as u64, Ordering::Relaxed);
            lapic::set_ratio(timer_ticks, ticks);
            EXACT.store(took < INSTRUCTIONS_OF_READING, Ordering::Relaxed);
            return counts_instructions();
        }
    }
}

/// The multiple of [`ROUND_HZ`] that is near enough, else as measured.
fn round(hz: u64) -> u64 {
    let rounded = (hz + ROUND_HZ / 2) / ROUND_HZ * ROUND_HZ;
    if rounded.abs_diff(hz) * ROUND_WITHIN < hz {
        rounded
    } else {
        hz
    }
}
