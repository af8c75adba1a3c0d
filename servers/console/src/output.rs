//! From the serial port to the device: a ring that is emptied by one `Fill` at a time.
//!
//! A byte leaves the ring only when the device has taken it: a crash at any point neither loses nor repeats it.

use atoll_protocol::role::console_mail::{TAKEN, TAKEN_EVERY};
use atoll_protocol::role::{Console, DriverEffect};
use atoll_protocol::units::{ServerId, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::state::RING;
use crate::{ConsoleServer, device};

/// Tries a busy device again.
pub(crate) const RETRY: TimerId = TimerId::nth(0);
/// Most bytes of one `Fill`.
const FILL_BYTES: usize = 256;

/// Bytes from the guest. What does not fit is dropped: only a serial port that breaks the rules sends so much.
pub(crate) fn append(
    vault: &mut Vault<'_, ConsoleServer>,
    mut bytes: &[u8],
    effects: &mut Effects<'_, Console>,
) {
    let free = RING.saturating_sub(usize::from(vault.book.used));
    let dropped = bytes.len().saturating_sub(free);
    bytes = bytes.get(..bytes.len() - dropped).unwrap_or(&[]);
    let mut place = usize::from(vault.book.first) + usize::from(vault.book.used);
    let book = vault.at(|s| &mut s.book);
    book.used += bytes.len() as u16;
    book.untold = book.untold.saturating_add(dropped as u16);
    while !bytes.is_empty() {
        let (line, offset) = (place % RING / 64, place % 64);
        let (now, later) = bytes.split_at(bytes.len().min(64 - offset));
        let line = vault.at(|s| &mut s.ring[line]);
        line.iter_mut()
            .skip(offset)
            .zip(now)
            .for_each(|(to, from)| *to = *from);
        place += now.len();
        bytes = later;
    }
    fill(vault, effects);
}

/// Gives the device the oldest bytes, unless it has some already or is being waited for.
fn fill(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    let book = &vault.book;
    if book.filling != 0 || book.used == 0 || book.retrying != 0 {
        return;
    }
    let first = usize::from(book.first) % RING;
    let count = usize::from(book.used).min(RING - first).min(FILL_BYTES);
    let bytes = vault
        .ring
        .as_flattened()
        .get(first..first + count)
        .unwrap_or(&[]);
    effects.emit(DriverEffect::Fill(device::transmit(book.base), bytes));
    vault.at(|s| &mut s.book).filling = count as u16;
}

/// The device has taken `count` bytes.
pub(crate) fn filled(
    vault: &mut Vault<'_, ConsoleServer>,
    count: u16,
    effects: &mut Effects<'_, Console>,
) {
    let book = vault.at(|s| &mut s.book);
    let short = count < book.filling;
    let count = count.min(book.filling);
    book.filling = 0;
    book.used = book.used.saturating_sub(count);
    book.first = ((usize::from(book.first) + usize::from(count)) % RING) as u16;
    book.untold = book.untold.saturating_add(count);
    if book.untold >= TAKEN_EVERY {
        let [low, high] = book.untold.to_le_bytes();
        book.untold = 0;
        effects.emit(DriverEffect::Mail(
            ServerId::nth(book.uart),
            &[TAKEN, low, high],
        ));
    }
    if short {
        // A FIFO takes 1.4 ms to drain at 115,200 baud. A timer costs less than the transmitter's interrupt and cannot be lost.
        book.retrying = 1;
        let at = effects.now().0.saturating_add(book.millisecond);
        effects.emit(DriverEffect::Arm(RETRY, atoll_protocol::units::Ticks(at)));
    } else {
        fill(vault, effects);
    }
}

/// Goes on where this driver, or another, was. A device that was waited for may have had time to send meanwhile; if not, it is waited
/// for again.
pub(crate) fn take_over(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    vault.at(|s| &mut s.book).retrying = 0;
    fill(vault, effects);
}

/// The device has had time to send.
pub(crate) fn retry(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    vault.at(|s| &mut s.book).retrying = 0;
    fill(vault, effects);
}
