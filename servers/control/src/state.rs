//! The driver's state: bookkeeping in one line of the vault, then what has come and what goes out.

use atoll_protocol::MAIL_BYTES;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of questions that can wait.
pub(crate) const INPUT: usize = 256;
/// Bytes of one answer's frame.
pub(crate) const FRAME: usize = 512;

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ControlState {
    pub(crate) book: Book,
    /// The order that is under way, as the supervisor gets it.
    pub(crate) order: [u8; MAIL_BYTES],
    /// Bytes that have come and are not understood yet.
    pub(crate) input: [u8; INPUT],
    /// The frame that goes out.
    pub(crate) frame: [u8; FRAME],
}

/// Where everything stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Book {
    /// Ticks of a millisecond.
    pub(crate) millisecond: u64,
    /// First port of the device.
    pub(crate) base: u16,
    /// Bytes in `input`.
    pub(crate) came: u16,
    /// Bytes of `frame` that the device has taken.
    pub(crate) sent: u16,
    /// Bytes in `frame`; 0 if none goes out.
    pub(crate) length: u16,
    /// Bytes given to the `Fill` that is under way; 0 if none is.
    pub(crate) filling: u16,
    /// Bytes of the order.
    pub(crate) ordered: u16,
    /// What is being answered: [`NOTHING`], [`SERVERS`], [`EXITS`], [`MACHINE`], [`ORDER`] or [`DUMP`].
    pub(crate) answering: u8,
    /// Index of the next record.
    pub(crate) next: u8,
    /// 1 while a query or an order is under way.
    pub(crate) querying: u8,
    /// 1 while the device is busy and a timer will try again.
    pub(crate) retrying: u8,
    /// Bytes asked of the `Drain` that is under way; 0 if none is.
    pub(crate) draining: u8,
    /// 1 while the rest of a frame that was too long is skipped.
    pub(crate) skipping: u8,
    /// 1 if reading has stopped for want of room.
    pub(crate) stalled: u8,
    /// The supervisor's number, or [`NOBODY`].
    pub(crate) supervisor: u8,
    /// Whom the dump is about.
    pub(crate) target: u8,
    /// Not used; zero.
    pub(crate) reserved: [u8; 3],
    /// Not used; zero.
    pub(crate) rest: [u64; 4],
}

/// The manifest does not let this server write to the supervisor.
pub(crate) const NOBODY: u8 = 0xff;

/// No question is open.
pub(crate) const NOTHING: u8 = 0;
/// `Ask::Servers`.
pub(crate) const SERVERS: u8 = 1;
/// `Ask::Exits`.
pub(crate) const EXITS: u8 = 2;
/// `Ask::Machine`.
pub(crate) const MACHINE: u8 = 3;
/// `Ask::Order`.
pub(crate) const ORDER: u8 = 4;
/// `Ask::Dump`.
pub(crate) const DUMP: u8 = 5;
