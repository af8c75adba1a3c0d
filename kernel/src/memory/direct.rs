//! The direct map: all physical memory at one fixed offset in the kernel's half.
//!
//! The only way by which the kernel reaches memory that it has no name for: frames, page tables, servers' pages (SMAP forbids their own
//! addresses), guest memory, device registers.

use atoll_protocol::units::Hpa;
use zerocopy::FromBytes;

use super::layout::{DIRECT_MAP, DIRECT_MAP_SIZE};

/// Where `address` is in the direct map. Following the pointer is what needs care.
#[inline(always)]
pub(crate) fn pointer<T>(address: Hpa) -> *mut T {
    core::ptr::with_exposed_provenance_mut((DIRECT_MAP + address.0) as usize)
}

/// Copies a value that the loader or the firmware left in memory.
pub(crate) fn copy_in<T: FromBytes + Copy>(address: Hpa) -> T {
    assert!(
        address.0 < DIRECT_MAP_SIZE,
        "loader's table outside the direct map"
    );
    // SAFETY: the direct map covers what the loader names, and any bytes make a `T`.
    unsafe { pointer::<T>(address).read_unaligned() }
}
