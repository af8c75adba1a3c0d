//! From the loader to [`crate::machine::run`]: what the machine has, the kernel's own tables, this core's registers, interrupts, the clock.

mod entry;
mod start_info;
mod tables;

use atoll_protocol::layout::{MSR_MAP_SIZE, MSR_MAPS};
use atoll_protocol::units::Hpa;

use self::start_info::BootInfo;
use crate::cpu::core_id::CoreId;
use crate::host::{lapic, pic, quirks, tsc};
use crate::memory::frames::Frames;
use crate::memory::layout::DIRECT_MAP_SIZE;
use crate::{cpu, log};

/// Memory below is the firmware's.
const LOW_MEMORY: Hpa = Hpa(0x10_0000);
/// What the first tables map of the direct map.
const EARLY_END: Hpa = Hpa(1 << 32);

/// Called by [`entry`] on the first core's kernel stack.
extern "sysv64" fn start(start_info: u32) -> ! {
    let boot = BootInfo::read(Hpa(u64::from(start_info)));
    let [first, second, third, fourth] = MSR_MAPS.map(|at| Hpa(at)..Hpa(at + MSR_MAP_SIZE));
    let reserved = [
        Hpa(0)..LOW_MEMORY,
        tables::image(),
        boot.bundle.clone(),
        first,
        second,
        third,
        fourth,
    ];

    // The first tables reach 4 GiB; what lies above is added once the kernel's own tables map it.
    let mut frames = Frames::new();
    for ram in boot.ram() {
        frames.add(ram.start..ram.end.min(EARLY_END), &reserved);
    }
    let quirks = quirks::by_name();
    tables::build(boot.ram(), quirks, &mut frames);
    for ram in boot.ram() {
        frames.add(
            ram.start.max(EARLY_END)..ram.end.min(Hpa(DIRECT_MAP_SIZE)),
            &reserved,
        );
    }

    let core = cpu::start::start(CoreId::BOOT);
    pic::start();
    lapic::start();
    if tsc::calibrate() {
        core.be_exact();
    }
    log!(
        "boot: {} MiB free, bundle {} KiB, TSC {} kHz",
        frames.free_count() / 256,
        (boot.bundle.end.0 - boot.bundle.start.0) / 1024,
        tsc::khz(),
    );
    crate::machine::run(CoreId::BOOT, quirks, boot.bundle, frames)
}
