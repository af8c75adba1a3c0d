//! From the device to the serial port: never more than it has room for.

use atoll_protocol::role::console_mail::{INPUT, INPUT_WINDOW};
use atoll_protocol::role::{Console, DriverEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Vault};

use crate::device::{FIFO, Trigger};
use crate::{ConsoleServer, device};

/// Sets the device up. What it holds already is read first, because switching its FIFOs on empties them.
pub(crate) fn set_up(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    let base = vault.book.base;
    effects.emit(DriverEffect::Drain(device::receive(base), FIFO as u16));
    vault.at(|s| &mut s.book).draining = FIFO as u8;
    device::program(base, Trigger::One, effects);
}

/// Takes the device over from a driver that was restarted. What it holds stays where it is.
pub(crate) fn take_over(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    let base = vault.book.base;
    device::confirm(base, Trigger::One, effects);
    match (vault.book.room, vault.book.draining) {
        (0, _) => device::deafen(base, effects),
        // What it drains decides about the interrupt.
        (_, 1..) => {}
        (_, 0) => device::listen(base, effects),
    }
}

/// Reads what the serial port has room for.
fn drain(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    let max = vault.book.room.min(FIFO as u8);
    effects.emit(DriverEffect::Drain(
        device::receive(vault.book.base),
        u16::from(max),
    ));
    vault.at(|s| &mut s.book).draining = max;
}

/// The device has interrupted.
pub(crate) fn interrupted(
    vault: &mut Vault<'_, ConsoleServer>,
    effects: &mut Effects<'_, Console>,
) {
    if vault.book.room == 0 {
        device::deafen(vault.book.base, effects);
    } else if vault.book.draining == 0 {
        drain(vault, effects);
    }
}

/// The serial port has room for `count` bytes more.
pub(crate) fn room(
    vault: &mut Vault<'_, ConsoleServer>,
    count: u8,
    effects: &mut Effects<'_, Console>,
) {
    let book = vault.at(|s| &mut s.book);
    book.room = book.room.saturating_add(count).min(INPUT_WINDOW);
    give_early(vault, effects);
    if vault.book.draining == 0 && vault.book.room != 0 {
        drain(vault, effects);
    }
}

/// Bytes have been read.
pub(crate) fn drained(
    vault: &mut Vault<'_, ConsoleServer>,
    bytes: &[u8],
    effects: &mut Effects<'_, Console>,
) {
    let book = vault.at(|s| &mut s.book);
    let all = bytes.len() < usize::from(book.draining);
    book.draining = 0;
    let room = bytes.len().min(usize::from(book.room));
    let (now, later) = bytes.split_at(if book.held == 0 { room } else { 0 });
    for (place, byte) in book
        .early
        .iter_mut()
        .skip(usize::from(book.held))
        .zip(later)
    {
        *place = *byte;
        book.held += 1;
    }
    give(vault, now, effects);
    give_early(vault, effects);
    let base = vault.book.base;
    match (vault.book.room, all) {
        (0, _) => device::deafen(base, effects),
        (_, true) => device::listen(base, effects),
        (_, false) => drain(vault, effects),
    }
}

/// Mails bytes for which there is room.
fn give(vault: &mut Vault<'_, ConsoleServer>, bytes: &[u8], effects: &mut Effects<'_, Console>) {
    if bytes.is_empty() {
        return;
    }
    let mut mail = [0; 1 + FIFO];
    let mut length = 0;
    for (to, from) in mail.iter_mut().zip([INPUT].iter().chain(bytes)) {
        *to = *from;
        length += 1;
    }
    let book = vault.at(|s| &mut s.book);
    book.room = book.room.saturating_sub(bytes.len() as u8);
    effects.emit(DriverEffect::Mail(
        ServerId::nth(book.uart),
        mail.get(..length).unwrap_or(&[]),
    ));
}

/// Mails what was kept for want of room.
fn give_early(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    let early = vault.book.early;
    let held = usize::from(vault.book.held).min(FIFO);
    let count = held.min(usize::from(vault.book.room));
    if count == 0 {
        return;
    }
    give(vault, early.get(..count).unwrap_or(&[]), effects);
    let book = vault.at(|s| &mut s.book);
    book.held = (held - count) as u8;
    book.early
        .iter_mut()
        .zip(early.iter().skip(count))
        .for_each(|(to, from)| *to = *from);
}
