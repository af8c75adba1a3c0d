//! Mail from one server to another: what a character that makes the serial port mail its line to the console takes more than one that
//! it only keeps.

use super::measure::{Figure, figure, ticks_of};

/// The first serial port's transmitter.
const TRANSMITTER: u64 = 0x3f8;

/// A newline, less a space.
pub fn mail() -> Figure {
    let send = |byte: u8| {
        // SAFETY: printing has no effect on memory.
        unsafe { ticks_of!("out dx, al", u64::from(byte), 0, TRANSMITTER, 0) }
    };
    figure("mail", 0, |_| {
        send(b' ');
        let kept = send(b' ');
        send(b'\n').saturating_sub(kept)
    })
}
