//! Bytes to and from the device, one `Fill` and one `Drain` at a time.

use atoll_console::device;
use atoll_protocol::role::{Control, DriverEffect};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::ControlServer;
use crate::state::{FRAME, INPUT};

/// Tries a busy device again.
pub(crate) const RETRY: TimerId = TimerId::nth(0);

/// Sends what is left of the frame.
pub(crate) fn fill(vault: &mut Vault<'_, ControlServer>, effects: &mut Effects<'_, Control>) {
    let book = &vault.book;
    if book.filling != 0 || book.retrying != 0 {
        return;
    }
    let bytes = vault
        .frame
        .get(usize::from(book.sent)..usize::from(book.length).min(FRAME))
        .unwrap_or(&[]);
    let count = bytes.len() as u16;
    effects.emit(DriverEffect::Fill(device::transmit(book.base), bytes));
    vault.at(|s| &mut s.book).filling = count;
}

/// The device has taken `count` bytes.
pub(crate) fn filled(
    vault: &mut Vault<'_, ControlServer>,
    count: u16,
    effects: &mut Effects<'_, Control>,
) {
    let book = vault.at(|s| &mut s.book);
    let short = count < book.filling;
    book.sent = book.sent.saturating_add(count.min(book.filling));
    book.filling = 0;
    if book.sent >= book.length {
        (book.sent, book.length) = (0, 0);
    } else if short {
        book.retrying = 1;
        let at = Ticks(effects.now().0.saturating_add(book.millisecond));
        effects.emit(DriverEffect::Arm(RETRY, at));
    }
}

/// Reads on if there is room; if not, what comes stays in the device until a question has been taken up.
pub(crate) fn drain(vault: &mut Vault<'_, ControlServer>, effects: &mut Effects<'_, Control>) {
    let room = INPUT
        .saturating_sub(usize::from(vault.book.came))
        .min(device::FIFO);
    if vault.book.draining != 0 {
        return;
    }
    if room != 0 {
        effects.emit(DriverEffect::Drain(
            device::receive(vault.book.base),
            room as u16,
        ));
    }
    let book = vault.at(|s| &mut s.book);
    (book.draining, book.stalled) = (room as u8, u8::from(room == 0));
}

/// Bytes have been read. False if there was nothing more to read: then the next interrupt will tell.
pub(crate) fn drained(vault: &mut Vault<'_, ControlServer>, bytes: &[u8]) -> bool {
    let came = usize::from(vault.book.came);
    vault
        .at(|s| &mut s.input)
        .iter_mut()
        .skip(came)
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    let book = vault.at(|s| &mut s.book);
    let more = bytes.len() >= usize::from(book.draining);
    book.draining = 0;
    book.came = (came + bytes.len()).min(INPUT) as u16;
    more
}
