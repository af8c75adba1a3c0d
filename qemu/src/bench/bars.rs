//! What figures may be at most: a promise, kept by `atoll bench --check`.

/// Most instructions of an exit that one server answers, from guest instruction to guest instruction.
const SMALL: u64 = 700;
/// Most instructions of an access to the local APIC's memory.
const LOCAL_APIC: u64 = 1_800;
/// Most instructions that an interrupt window adds.
const WINDOW: u64 = 1_200;
/// Most instructions of a first touch of a page.
const DEMAND_MAP: u64 = 1_000;
/// Most instructions for which the guest waits while the CPUID server or the serial port is restarted.
const RESTART: u64 = 100_000;
/// Most instructions for which it waits while a server is swapped.
const SWAP: u64 = 200_000;
/// Most that a boot may take, in hundredths of what it takes without Atoll.
pub const BOOT_HUNDREDTHS: u64 = 130;

/// The most that the median of `probe` may be, if there is a bar for it.
#[must_use]
pub fn of(probe: &str) -> Option<u64> {
    match probe {
        "cpuid" | "rdmsr" | "wrmsr" | "out" | "in" | "pic_in" => Some(SMALL),
        "mmio_load" | "mmio_store" => Some(LOCAL_APIC),
        "window" => Some(WINDOW),
        "demand_map" => Some(DEMAND_MAP),
        "restart_cpuid" | "restart_uart" => Some(RESTART),
        swap if swap.starts_with("swap_") => Some(SWAP),
        _ => None,
    }
}
