//! The driver's state: bookkeeping in one line of the vault, waiting requests in the next, then the output itself.

use crate::device::FIFO;
use atoll_protocol::role::console_mail::OUTPUT_WINDOW;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of output that fit.
pub(crate) const RING: usize = OUTPUT_WINDOW as usize;
/// Requests that can wait at the same time.
pub(crate) const WAITING: usize = 4;

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ConsoleState {
    pub(crate) book: Book,
    pub(crate) waiting: [Waiting; WAITING],
    pub(crate) ring: [[u8; 64]; RING / 64],
}

/// Where everything stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Book {
    /// Ticks of a millisecond.
    pub(crate) millisecond: u64,
    /// First port of the device.
    pub(crate) base: u16,
    /// Where the oldest byte of output is in the ring.
    pub(crate) first: u16,
    /// Bytes of output in the ring.
    pub(crate) used: u16,
    /// Bytes given to the `Fill` that is under way; 0 if none is.
    pub(crate) filling: u16,
    /// Bytes written that the serial port has not been told of.
    pub(crate) untold: u16,
    /// The serial port's server number.
    pub(crate) uart: u8,
    /// 1 while the device is busy and a timer will try again.
    pub(crate) retrying: u8,
    /// Bytes that the serial port has room for.
    pub(crate) room: u8,
    /// Bytes asked of the `Drain` that is under way; 0 if none is.
    pub(crate) draining: u8,
    /// Bytes in `early`.
    pub(crate) held: u8,
    /// Not used; zero.
    pub(crate) reserved: u8,
    /// Input that came when there was no room for it: what the device held before it was set up.
    pub(crate) early: [u8; FIFO],
    /// Not used; zero.
    pub(crate) rest: [u64; 3],
}

/// A request that is answered when all output has been written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Waiting {
    /// When it came.
    pub(crate) since: u64,
    /// Its ticket; 0 if this place is free.
    pub(crate) ticket: u32,
    /// Not used; zero.
    pub(crate) reserved: u32,
}
