//! Mail from one server to another, seen from the guest by two differences.
//!
//! - [`line`]: what a newline, with which the serial port passes its line on to the console, takes more than a space, which it only
//!   keeps. On Atoll that is a mail, and everything that the console does with it, its device included.
//! - [`mail`], one hop: after each 1,024 bytes the console mails the serial port that they have been written. What a newline takes that
//!   brings this about, more than a newline that does not: one more effect in an answer, checked and committed, one activation, and one
//!   more answer.

use super::measure::{Figure, figure, ticks_of};

/// The first serial port's transmitter.
const TRANSMITTER: u64 = 0x3f8;
/// Bytes of a line, with its end.
const LINE: usize = 32;
/// Lines of a report.
const LINES: usize = 1024 / LINE;
/// Reports that are measured; the figures of fewer would be the same, and each takes a thousand exits.
const REPORTS: usize = 32;

fn send(byte: u8) -> u64 {
    // SAFETY: printing has no effect on memory.
    unsafe { ticks_of!("out dx, al", u64::from(byte), 0, TRANSMITTER, 0) }
}

/// All of a line but its end, by one instruction: slow lines would meet the serial port's timer.
fn send_spaces() {
    let spaces = [b' '; LINE - 1];
    // SAFETY: the instruction reads the array and prints it.
    unsafe {
        core::arch::asm!(
            "rep outsb",
            inout("rcx") spaces.len() => _,
            inout("rsi") spaces.as_ptr() => _,
            in("dx") TRANSMITTER as u16,
            options(nostack, preserves_flags, readonly),
        );
    }
}

/// A line for the console.
pub fn line() -> Figure {
    figure("line", 0, |_| {
        // The first one after a newline may arm a timer.
        send(b' ');
        let kept = send(b' ');
        send(b'\n').saturating_sub(kept)
    })
}

/// One hop.
pub fn mail() -> Figure {
    let mut hops = [0; REPORTS];
    for hop in &mut hops {
        let mut newlines = [0; LINES];
        for newline in &mut newlines {
            send_spaces();
            *newline = send(b'\n');
        }
        newlines.sort_unstable();
        *hop = newlines[LINES - 1] - newlines[LINES / 2];
    }
    Figure::of("mail", &mut hops)
}
