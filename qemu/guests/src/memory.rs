//! Loads and stores at addresses, as device registers and test cells need them.

/// Stores 32 bits.
pub fn store(at: u64, value: u32) {
    // SAFETY: the address is of a device or of a test's own memory.
    unsafe { (at as *mut u32).write_volatile(value) };
}

/// Loads 32 bits.
#[must_use]
pub fn load(at: u64) -> u32 {
    // SAFETY: the address is of a device or of a test's own memory.
    unsafe { (at as *const u32).read_volatile() }
}

/// Stores 64 bits.
pub fn store64(at: u64, value: u64) {
    // SAFETY: the address is of a test's own memory.
    unsafe { (at as *mut u64).write_unaligned(value) };
}

/// Loads 64 bits.
#[must_use]
pub fn load64(at: u64) -> u64 {
    // SAFETY: the address is of a test's own memory.
    unsafe { (at as *const u64).read_unaligned() }
}

/// Stores bytes.
pub fn fill(at: u64, bytes: &[u8]) {
    for (place, byte) in (at..).zip(bytes) {
        // SAFETY: the address is of a test's own memory.
        unsafe { (place as *mut u8).write_volatile(*byte) };
    }
}

/// Whether the bytes are there.
#[must_use]
pub fn holds(at: u64, bytes: &[u8]) -> bool {
    // SAFETY: the address is of a test's own memory.
    (at..)
        .zip(bytes)
        .all(|(place, byte)| unsafe { (place as *const u8).read_volatile() } == *byte)
}
