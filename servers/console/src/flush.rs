//! Requests to say when all output has been written: so that the last words of a guest are not cut off when the machine is switched off.

use atoll_protocol::role::{Console, DriverEffect, DriverReply, MailRequest};
use atoll_protocol::units::{TicketId, Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::ConsoleServer;
use crate::state::Waiting;

/// Looks at the waiting requests.
pub(crate) const SETTLE: TimerId = TimerId::nth(1);
/// How long a request waits at least: longer than a serial port keeps characters back to gather them.
const SETTLE_MILLISECONDS: u64 = 1;
/// How long it waits at most.
const DEADLINE_MILLISECONDS: u64 = 1_000;
/// Closer to its deadline than this, a request is left to the kernel: both answering it would be a fault.
const MARGIN_MILLISECONDS: u64 = 10;

/// Somebody asks. There is only one question, so its bytes do not matter.
pub(crate) fn ask(
    vault: &mut Vault<'_, ConsoleServer>,
    request: MailRequest<'_>,
    effects: &mut Effects<'_, Console>,
) -> DriverReply {
    let now = effects.now();
    let after =
        |milliseconds| now.after(Ticks(vault.book.millisecond.saturating_mul(milliseconds)));
    let (settled, deadline) = (after(SETTLE_MILLISECONDS), after(DEADLINE_MILLISECONDS));
    // With no place left the deadline answers.
    if let Some(place) = vault.waiting.iter().position(|waiting| waiting.ticket == 0) {
        if let Some(waiting) = vault.at(|s| &mut s.waiting).get_mut(place) {
            *waiting = Waiting {
                since: now.0,
                ticket: request.ticket.0,
                reserved: 0,
            };
        }
        effects.emit(DriverEffect::Arm(SETTLE, settled));
    }
    DriverReply::Later(deadline)
}

/// Goes on where this driver, or another, was: who waits is looked at when the last of them may have waited long enough.
pub(crate) fn take_over(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    if let Some(since) = vault
        .waiting
        .iter()
        .filter(|waiting| waiting.ticket != 0)
        .map(|waiting| waiting.since)
        .max()
    {
        let settle = vault.book.millisecond.saturating_mul(SETTLE_MILLISECONDS);
        effects.emit(DriverEffect::Arm(
            SETTLE,
            Ticks(since.saturating_add(settle)),
        ));
    }
}

/// Answers who has waited long enough, if everything has been written.
pub(crate) fn look(vault: &mut Vault<'_, ConsoleServer>, effects: &mut Effects<'_, Console>) {
    if vault.waiting.iter().all(|waiting| waiting.ticket == 0) {
        return;
    }
    let written = vault.book.used == 0;
    let (now, millisecond) = (effects.now().0, vault.book.millisecond);
    for waiting in vault
        .at(|s| &mut s.waiting)
        .iter_mut()
        .filter(|waiting| waiting.ticket != 0)
    {
        let waited = now.saturating_sub(waiting.since);
        if waited >= millisecond.saturating_mul(DEADLINE_MILLISECONDS - MARGIN_MILLISECONDS) {
            *waiting = Waiting::default();
        } else if written && waited >= millisecond.saturating_mul(SETTLE_MILLISECONDS) {
            effects.emit(DriverEffect::Reply(TicketId(waiting.ticket), &[]));
            *waiting = Waiting::default();
        }
    }
}
