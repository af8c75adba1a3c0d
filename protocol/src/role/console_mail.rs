//! What a serial port and the console driver mail to each other.
//!
//! The first byte of a mail says what it is, the rest is its content. Neither side ever sends what the other has no room for:
//!
//! - The console may send only as many bytes of [`INPUT`] as the port has granted by [`ROOM`]. At the start it has been granted none, so
//!   input that comes before the guest listens stays in the host's device, which holds its sender up.
//! - The port may have at most [`OUTPUT_WINDOW`] bytes of [`OUTPUT`] on the way; [`TAKEN`] says how many have arrived at the device.

/// Port to console: bytes that the guest has written.
pub const OUTPUT: u8 = 1;
/// Port to console: it may send so many bytes more (one byte).
pub const ROOM: u8 = 2;
/// Console to port: bytes for the guest.
pub const INPUT: u8 = 3;
/// Console to port: so many bytes of output have been written (little-endian, two bytes).
pub const TAKEN: u8 = 4;

/// Most bytes of output that the console holds; also the capacity of its buffer. All of it fits into a state that moves.
pub const OUTPUT_WINDOW: u16 = 2048;
/// Most bytes of one `OUTPUT`.
pub const OUTPUT_BYTES: usize = 47;
/// Most bytes of input that a port grants: the depth of a 16550A's receive FIFO.
pub const INPUT_WINDOW: u8 = 16;
/// The console sends `TAKEN` when so many bytes were written since the last one: seldom enough to cost nothing.
pub const TAKEN_EVERY: u16 = 512;
