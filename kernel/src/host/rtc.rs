//! The wall clock, from the battery-backed clock's registers. MC146818A data sheet.

use super::port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Status A: an update is in progress.
const UPDATING: u8 = 0x80;
/// Status B: binary, not BCD.
const BINARY: u8 = 0x04;
/// Status B: 24 hours.
const HOURS_24: u8 = 0x02;
/// Hours: afternoon, with 12 hours.
const AFTERNOON: u8 = 0x80;

fn register(index: u8) -> u8 {
    port::write::<u8>(INDEX, index);
    port::read::<u8>(DATA)
}

/// Seconds since 1970, taking the clock for UTC and this century.
pub(crate) fn wall_seconds() -> u64 {
    // Seconds, minutes, hours, day, month, year; read until twice the same, so that no update falls in between.
    let read = || [0, 2, 4, 7, 8, 9].map(register);
    let mut fields = read();
    for _ in 0..100_000 {
        let again = read();
        if register(0xa) & UPDATING == 0 && again == fields {
            break;
        }
        fields = again;
    }
    let status = register(0xb);
    let decode = |value: u8| {
        u64::from(if status & BINARY != 0 {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        })
    };
    let hour = decode(fields[2] & !AFTERNOON);
    let hour = match fields[2] & AFTERNOON != 0 {
        _ if status & HOURS_24 != 0 => hour,
        false => hour % 12,
        true => hour % 12 + 12,
    };
    let days = days_since_1970(
        2000 + decode(fields[5]),
        decode(fields[4]),
        decode(fields[3]),
    );
    days * 86_400 + hour * 3_600 + decode(fields[1]) * 60 + decode(fields[0])
}

/// Days of the Gregorian calendar, with March as a year's first month.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    (year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day)
        .saturating_sub(719_469)
}
