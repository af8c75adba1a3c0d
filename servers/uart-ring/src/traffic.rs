//! Characters from the guest to the console and back.

use atoll_protocol::role::console_mail::{INPUT_WINDOW, OUTPUT, OUTPUT_BYTES, OUTPUT_WINDOW, ROOM};
use atoll_protocol::role::{Serial, SerialEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Vault};

use crate::state::{BREAKS, NEVER, READY};
use crate::{RingServer, untime};

/// Longest that a character waits for others.
const LINGER_NANOSECONDS: u64 = 500_000;

/// The guest writes a character.
pub(crate) fn write(
    vault: &mut Vault<'_, RingServer>,
    byte: u8,
    effects: &mut Effects<'_, Serial>,
) {
    if vault.loops() {
        vault.at(|s| &mut s.causes).set(READY);
        return come_back(vault, byte, effects);
    }
    // One too many is lost, as in hardware: the guest has not looked whether there is room.
    if vault.output.waiting() < OUTPUT_BYTES {
        let _ = vault.at(|s| &mut s.output).push(byte);
    }
    if byte == b'\n' || vault.output.waiting() == OUTPUT_BYTES {
        send(vault, effects);
    }
    if vault.output.waiting() != 0 && vault.sends_at == NEVER {
        let linger = vault.clock.from_nanoseconds(LINGER_NANOSECONDS);
        *vault.at(|s| &mut s.sends_at) = effects.now().after(linger).0;
    }
    let ready = vault.is_ready();
    let causes = vault.at(|s| &mut s.causes);
    causes.retain(!READY);
    if ready {
        causes.set(READY);
    }
}

/// Mails what waits, if the console has room and has not been mailed just now.
fn send(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    let (now, count) = (effects.now().0, vault.output.waiting());
    if count == 0
        || vault.mailed_at == now
        || vault.in_flight() + count > usize::from(OUTPUT_WINDOW)
    {
        return;
    }
    let mut mail = [OUTPUT; 1 + OUTPUT_BYTES];
    let output = vault.at(|s| &mut s.output);
    mail.iter_mut()
        .skip(1)
        .zip(core::iter::from_fn(|| output.pop()))
        .for_each(|(to, from)| *to = from);
    effects.emit(SerialEffect::Mail(
        ServerId::nth(vault.console),
        mail.get(..=count).unwrap_or(&[]),
    ));
    let state = vault.at(|s| s);
    state.mailed = state.mailed.wrapping_add(count as u32);
    state.mailed_at = now;
}

/// It is time to mail what waits.
pub(crate) fn flush(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    *vault.at(|s| &mut s.sends_at) = NEVER;
    let was = vault.is_ready();
    send(vault, effects);
    recover(vault, was);
}

/// The console has written `count` characters.
pub(crate) fn taken(
    vault: &mut Vault<'_, RingServer>,
    count: u16,
    effects: &mut Effects<'_, Serial>,
) {
    let was = vault.is_ready();
    let count = vault.in_flight().min(count.into());
    let state = vault.at(|s| s);
    state.acknowledged = state.acknowledged.wrapping_add(count as u32);
    // What waits for its time goes on waiting; what had no room has it now.
    if vault.sends_at == NEVER {
        send(vault, effects);
    }
    recover(vault, was);
}

/// A transmitter that has become ready interrupts.
fn recover(vault: &mut Vault<'_, RingServer>, was: bool) {
    if !was && vault.is_ready() {
        vault.at(|s| &mut s.causes).set(READY);
    }
}

/// The guest reads a character.
pub(crate) fn read(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) -> u8 {
    let Some(byte) = vault.at(|s| &mut s.input).pop() else {
        return 0;
    };
    untime(vault);
    *vault.at(|s| &mut s.touched) = effects.now().0;
    if vault.opens_at == NEVER {
        grant(vault, effects);
    }
    byte
}

/// Characters from the console.
pub(crate) fn arrive(
    vault: &mut Vault<'_, RingServer>,
    bytes: &[u8],
    effects: &mut Effects<'_, Serial>,
) {
    let state = vault.at(|s| s);
    state.granted = state.granted.saturating_sub(bytes.len() as u8);
    for byte in bytes {
        if !state.input.push(*byte) {
            state.causes.set(BREAKS);
        }
    }
    state.touched = effects.now().0;
}

/// A character of our own, in loopback. A full FIFO keeps what it has; without FIFOs the newer character stays.
fn come_back(vault: &mut Vault<'_, RingServer>, byte: u8, effects: &mut Effects<'_, Serial>) {
    let depth = vault.depth();
    let state = vault.at(|s| s);
    if state.input.waiting() >= depth {
        state.causes.set(BREAKS);
        if depth == 1 {
            let _ = state.input.pop();
        }
    }
    if state.input.waiting() < depth {
        let _ = state.input.push(byte);
    }
    state.touched = effects.now().0;
}

/// The guest throws away what it can see.
pub(crate) fn clear(vault: &mut Vault<'_, RingServer>) {
    for _ in 0..vault.visible() {
        let _ = vault.at(|s| &mut s.input).pop();
    }
    untime(vault);
}

/// Tells the console about room, if that is worth a mail and somebody listens.
pub(crate) fn grant(vault: &mut Vault<'_, RingServer>, effects: &mut Effects<'_, Serial>) {
    let room = vault.room() as u8;
    if room >= INPUT_WINDOW / 2 && vault.listens() {
        *vault.at(|s| &mut s.granted) += room;
        effects.emit(SerialEffect::Mail(
            ServerId::nth(vault.console),
            &[ROOM, room],
        ));
    }
}
