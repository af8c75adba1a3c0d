//! The transmitter: to the guest it is empty again at once; characters are gathered and mailed to the console.
//!
//! A mail goes out with a newline, with a full buffer, or when the oldest character has waited [`LINGER_NANOSECONDS`]: so a line of text
//! costs one message, and a prompt without a newline shows up before anybody notices.

use atoll_protocol::role::Serial;
use atoll_protocol::role::SerialEffect;
use atoll_protocol::role::console_mail::{OUTPUT_BYTES, OUTPUT_WINDOW};
use atoll_protocol::units::{ServerId, Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::registers::{IER_TRANSMIT, MCR_LOOP};
use crate::state::Output;
use crate::{UartServer, line, receive};

/// Sends what has been gathered.
pub(crate) const FLUSH: TimerId = TimerId::nth(0);
/// Longest that a character waits for company.
pub(crate) const LINGER_NANOSECONDS: u64 = 500_000;

/// The guest writes the transmitter holding register.
pub(crate) fn write(
    vault: &mut Vault<'_, UartServer>,
    byte: u8,
    effects: &mut Effects<'_, Serial>,
) {
    if vault.set.mcr & MCR_LOOP != 0 {
        return loopback(vault, byte, effects);
    }
    let console = ServerId::nth(vault.set.console);
    let out = vault.at(|s| &mut s.out);
    // No room means that the guest has not waited for an empty transmitter: the character is overwritten, as in hardware.
    if usize::from(out.used) < OUTPUT_BYTES {
        out.used += 1;
        if let Some(place) = out.mail.get_mut(usize::from(out.used)) {
            *place = byte;
        }
    }
    if byte == b'\n' || usize::from(out.used) == OUTPUT_BYTES {
        send(out, console, effects);
    }
    out.pending = u8::from(out.ready());
    if out.used != 0 {
        flush_later(vault, effects);
    }
    if vault.set.ier & IER_TRANSMIT != 0 {
        line::update(vault, effects);
    }
}

/// Mails what has been gathered, if there is anything, the console has room, and this activation has not sent mail before: a string
/// instruction may write many lines, and mail has a credit.
fn send(out: &mut Output, console: ServerId, effects: &mut Effects<'_, Serial>) {
    let now = effects.now().0;
    let used = u16::from(out.used);
    if used == 0 || out.mailed == now || out.in_flight.saturating_add(used) > OUTPUT_WINDOW {
        return;
    }
    effects.emit(SerialEffect::Mail(
        console,
        out.mail.get(..=usize::from(out.used)).unwrap_or(&[]),
    ));
    out.mailed = now;
    out.in_flight += used;
    out.used = 0;
}

/// Arms the flush timer for something that was put off.
pub(crate) fn flush_later(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    if vault.out.armed == 0 {
        let at = effects.now().0.wrapping_add(vault.set.linger);
        vault.at(|s| &mut s.out).armed = 1;
        vault.at(|s| &mut s.set).flush_at = at;
        effects.emit(SerialEffect::Arm(FLUSH, Ticks(at)));
    }
}

/// Arms the flush timer again: it may have been another server's, which has armed others.
pub(crate) fn rearm(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    effects.emit(match vault.out.armed {
        0 => SerialEffect::Disarm(FLUSH),
        _ => SerialEffect::Arm(FLUSH, Ticks(vault.set.flush_at)),
    });
}

/// The oldest character has waited long enough.
pub(crate) fn flush(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    if vault.out.armed != 0 && effects.now().0 < vault.set.flush_at {
        // Not what was armed for: another server's, that was here before.
        return effects.emit(SerialEffect::Arm(FLUSH, Ticks(vault.set.flush_at)));
    }
    let (ready, console) = (vault.out.ready(), ServerId::nth(vault.set.console));
    let out = vault.at(|s| &mut s.out);
    out.armed = 0;
    send(out, console, effects);
    recover(vault, effects, ready);
    line::update(vault, effects);
}

/// The console has written `count` characters.
pub(crate) fn taken(
    vault: &mut Vault<'_, UartServer>,
    count: u16,
    effects: &mut Effects<'_, Serial>,
) {
    let (ready, console) = (vault.out.ready(), ServerId::nth(vault.set.console));
    let out = vault.at(|s| &mut s.out);
    out.in_flight = out.in_flight.saturating_sub(count);
    if out.armed == 0 {
        send(out, console, effects);
    }
    recover(vault, effects, ready);
}

/// Tells the guest if the transmitter has become ready. `ready`: it was before, and the guest knows.
fn recover(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>, ready: bool) {
    if !ready && vault.out.ready() {
        vault.at(|s| &mut s.out).pending = 1;
        line::update(vault, effects);
    }
}

/// In loopback a character goes to the receiver.
#[cold]
#[inline(never)]
fn loopback(vault: &mut Vault<'_, UartServer>, byte: u8, effects: &mut Effects<'_, Serial>) {
    vault.at(|s| &mut s.out).pending = 1;
    receive::loopback(vault, byte, effects);
}
