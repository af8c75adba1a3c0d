//! The time-stamp counter, the kernel's only clock, and how fast it is.
//!
//! The local APIC's timer is measured against channel 2 of the PIT, whose rate is fixed, and the TSC against the timer, which is finer.
//! The window grows until what single readings leave open (another interrupt of the host's, under TCG) is small against it; under
//! icount that is at once. Intel 8254 data sheet; AMD APM vol. 2 §13.2.4.

use core::sync::atomic::{AtomicU64, Ordering};

use atoll_protocol::units::Ticks;

use super::{lapic, port};

/// What the PIT counts in a second.
const PIT_HZ: u64 = 1_193_182;
/// The shortest window in PIT counts: 4 ms, of which the count that a real PIT takes to begin is less than 1 in [`ROUND_WITHIN`].
const SHORTEST: u16 = 4_773;
/// The longest: 30 ms.
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

/// Microseconds since the counter started; 0 before calibration.
pub(crate) fn micros() -> u64 {
    (u128::from(now().0) * 1_000).checked_div(u128::from(khz())).map_or(0, |micros| micros as u64)
}

/// The span that lasts so many microseconds.
pub(crate) fn span_of_micros(micros: u64) -> Ticks {
    Ticks((u128::from(micros) * u128::from(khz()) / 1_000) as u64)
}

/// The ticks that it took to read both counters, the TSC and the timer's count at that moment: the quickest of some readings.
#[inline(never)]
fn reading() -> (u64, u64, u64) {
    let read = |_| {
        let before = now().0;
        let timer = lapic::counted();
        let took = now().0 - before;
        (took, before + took / 2, timer)
    };
    (0..ATTEMPTS).map(read).min().unwrap_or_default()
}

/// Lets the PIT count down; the timer's ticks meanwhile, and how many of them are in doubt.
#[inline(never)]
fn count_down(counts: u16) -> (u64, u64) {
    let [low, high] = counts.to_le_bytes();
    port::write::<u8>(0x43, 0xb0); // channel 2, both bytes, counts down once
    port::write::<u8>(0x42, low);
    let before = lapic::counted();
    port::write::<u8>(0x42, high);
    let start = lapic::counted();
    let mut last = start;
    while port::read::<u8>(0x61) & 0x20 == 0 {
        last = lapic::counted();
    }
    let in_doubt = (start - before) + (lapic::counted() - last);
    (last - start + in_doubt / 2, in_doubt)
}

/// Measures, some milliseconds. True if a tick is an instruction (icount), so that nothing the host does takes time.
pub(crate) fn calibrate() -> bool {
    port::write::<u8>(0x61, port::read::<u8>(0x61) & !2 | 1); // channel 2 counts, the speaker is off
    lapic::start_counting();
    let mut counts = SHORTEST;
    loop {
        let (start_took, tsc_start, timer_start) = reading();
        let (ticks, in_doubt) = count_down(counts);
        let (end_took, tsc_end, timer_end) = reading();
        let (tsc_ticks, timer_ticks) = (tsc_end - tsc_start, (timer_end - timer_start).max(1));
        let precise = in_doubt * ROUND_WITHIN < ticks && (start_took + end_took) * PRECISION < tsc_ticks;
        if precise || counts == LONGEST {
            let timer_hz = round(ticks * PIT_HZ / u64::from(counts));
            let khz = u128::from(tsc_ticks) * u128::from(timer_hz) / u128::from(timer_ticks) / 1_000;
            KHZ.store(khz as u64, Ordering::Relaxed);
            lapic::set_ratio(timer_ticks, tsc_ticks);
            return end_took < INSTRUCTIONS_OF_READING;
        }
        counts = counts.saturating_mul(2).min(LONGEST);
    }
}

/// The multiple of [`ROUND_HZ`] that is near enough, else as measured.
fn round(hz: u64) -> u64 {
    let rounded = (hz + ROUND_HZ / 2) / ROUND_HZ * ROUND_HZ;
    if rounded.abs_diff(hz) * ROUND_WITHIN < hz { rounded } else { hz }
}
