//! The receiver: a FIFO that is never asked to hold more than it can, because the console sends only what it was granted.
//!
//! Nothing is granted before the guest listens, and not until [`OPEN_NANOSECONDS`] after that: drivers probe the chip, enable interrupts
//! to see what happens, and empty the FIFO, all before they mean to read. What is typed meanwhile stays in the host's device.

use atoll_protocol::role::console_mail::{INPUT_WINDOW, ROOM};
use atoll_protocol::role::{Serial, SerialEffect};
use atoll_protocol::units::{ServerId, Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::registers::{FCR_ENABLE, LSR_OVERRUN};
use crate::state::FIFO;
use crate::{UartServer, line};

/// The character time-out.
pub(crate) const TIMEOUT: TimerId = TimerId::nth(1);
/// The guest has listened for long enough.
pub(crate) const OPEN: TimerId = TimerId::nth(2);
/// How long the guest must listen before the console may send.
const OPEN_NANOSECONDS: u64 = 2_000_000;
/// Room that is worth a mail.
const WORTHWHILE: u8 = INPUT_WINDOW / 2;

/// The guest reads the receiver buffer register.
pub(crate) fn read(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) -> u8 {
    if vault.input.used == 0 {
        return 0;
    }
    let input = vault.at(|s| &mut s.input);
    let byte = input.pop().unwrap_or(0);
    input.timeout = 0;
    input.touched = effects.now().0;
    wait_for_more(vault, effects);
    if vault.input.opening == 0 {
        grant(vault, effects);
    }
    line::update(vault, effects);
    byte
}

/// The console sends characters.
pub(crate) fn arrive(
    vault: &mut Vault<'_, UartServer>,
    bytes: &[u8],
    effects: &mut Effects<'_, Serial>,
) {
    let input = vault.at(|s| &mut s.input);
    for byte in bytes {
        input.granted = input.granted.saturating_sub(1);
        if !input.push(*byte) {
            input.errors |= LSR_OVERRUN;
        }
    }
    input.touched = effects.now().0;
    wait_for_more(vault, effects);
    line::update(vault, effects);
}

/// A character comes back from our own transmitter.
pub(crate) fn loopback(
    vault: &mut Vault<'_, UartServer>,
    byte: u8,
    effects: &mut Effects<'_, Serial>,
) {
    let fifos = vault.set.fcr & FCR_ENABLE != 0;
    let depth = vault.set.depth();
    let input = vault.at(|s| &mut s.input);
    if input.used >= depth {
        // Data sheet §8.6.3: a full FIFO keeps what it has; without FIFOs the new character overwrites the old one.
        input.errors |= LSR_OVERRUN;
        if !fifos {
            let _ = input.pop();
        }
    }
    if input.used < depth.min(FIFO) {
        let _ = input.push(byte);
    }
    input.touched = effects.now().0;
    wait_for_more(vault, effects);
    line::update(vault, effects);
}

/// The guest empties the FIFO: what it can see of it.
pub(crate) fn clear(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    let visible = vault.visible();
    let input = vault.at(|s| &mut s.input);
    for _ in 0..visible {
        let _ = input.pop();
    }
    input.timeout = 0;
    wait_for_more(vault, effects);
}

/// Arms the time-out if characters wait (at the trigger level it does not show). An armed timer stays as it is: it looks at `touched` when it expires,
/// which is cheaper than to arm it again with every character.
fn wait_for_more(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    if vault.input.armed == 0 && vault.input.timeout == 0 && vault.input.used != 0 {
        let at = vault
            .input
            .touched
            .saturating_add(vault.set.four_characters());
        vault.at(|s| &mut s.input).armed = 1;
        effects.emit(SerialEffect::Arm(TIMEOUT, Ticks(at)));
    }
}

/// Four characters' time has passed since the timer was armed.
pub(crate) fn time_out(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    let due = effects.now().0
        >= vault
            .input
            .touched
            .saturating_add(vault.set.four_characters());
    let input = vault.at(|s| &mut s.input);
    input.armed = 0;
    if due && input.used != 0 {
        input.timeout = 1;
        line::update(vault, effects);
    } else {
        wait_for_more(vault, effects);
    }
}

/// Something changed that may make the guest a listener: begin to open.
pub(crate) fn open(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    if vault.input.opening == 0 && vault.set.listens() && vault.input.room() >= WORTHWHILE {
        vault.at(|s| &mut s.input).opening = 1;
        let at = effects
            .now()
            .after(vault.set.clock.from_nanoseconds(OPEN_NANOSECONDS));
        vault.at(|s| &mut s.set).open_at = at.0;
        effects.emit(SerialEffect::Arm(OPEN, at));
    }
}

/// The guest has listened for a while, if it still does.
pub(crate) fn opened(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    if vault.input.opening != 0 && effects.now().0 < vault.set.open_at {
        // Not what was armed for: another server's, that was here before.
        return effects.emit(SerialEffect::Arm(OPEN, Ticks(vault.set.open_at)));
    }
    if vault.input.opening != 0 {
        vault.at(|s| &mut s.input).opening = 0;
        grant(vault, effects);
    }
}

/// Arms the timers again: they may have been another server's, which has armed others.
pub(crate) fn rearm(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    vault.at(|s| &mut s.input).armed = 0;
    wait_for_more(vault, effects);
    if vault.input.armed == 0 {
        effects.emit(SerialEffect::Disarm(TIMEOUT));
    }
    effects.emit(match vault.input.opening {
        0 => SerialEffect::Disarm(OPEN),
        _ => SerialEffect::Arm(OPEN, Ticks(vault.set.open_at)),
    });
}

/// Lets the console send as much as there is room for, if that is worth a mail.
fn grant(vault: &mut Vault<'_, UartServer>, effects: &mut Effects<'_, Serial>) {
    let room = vault.input.room();
    if room >= WORTHWHILE && vault.set.listens() {
        vault.at(|s| &mut s.input).granted += room;
        effects.emit(SerialEffect::Mail(
            ServerId::nth(vault.set.console),
            &[ROOM, room],
        ));
    }
}
