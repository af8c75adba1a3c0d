//! The driver's state for another server of the role, and from one.

use atoll_protocol::interchange::{Bytes, ConsoleState as Exchanged, WaitingState};
use atoll_protocol::role::console_mail::INPUT_WINDOW;
use atoll_protocol::units::{TicketId, Ticks};
use atoll_sdk::Refuse;

use crate::device::FIFO;
use crate::state::{ConsoleState, RING, Waiting};

/// What another must know to go on.
pub(crate) fn export(state: &ConsoleState) -> Exchanged {
    let book = &state.book;
    let (first, used) = (
        usize::from(book.first) % RING,
        usize::from(book.used).min(RING),
    );
    let output = state
        .ring
        .as_flattened()
        .iter()
        .cycle()
        .skip(first)
        .take(used);
    let waiting = |waiting: Waiting| WaitingState {
        ticket: TicketId(waiting.ticket),
        since: Ticks(waiting.since),
    };
    Exchanged {
        output: Bytes::of(output),
        filling: book.filling,
        untold: book.untold,
        room: book.room,
        draining: book.draining,
        early: Bytes::of(book.early.iter().take(usize::from(book.held))),
        waiting: state
            .waiting
            .map(|place| (place.ticket != 0).then(|| waiting(place))),
    }
}

/// The state to go on with, from a fresh one.
pub(crate) fn import(mut fresh: ConsoleState, before: &Exchanged) -> Result<ConsoleState, Refuse> {
    let sensible =
        usize::from(before.filling) <= before.output.len() && before.room <= INPUT_WINDOW;
    if !sensible || usize::from(before.draining) > FIFO {
        return Err(Refuse::BadState);
    }
    fresh
        .ring
        .as_flattened_mut()
        .iter_mut()
        .zip(before.output.iter())
        .for_each(|(to, from)| *to = *from);
    let book = &mut fresh.book;
    (book.used, book.filling) = (before.output.len() as u16, before.filling);
    (book.untold, book.room, book.draining) = (before.untold, before.room, before.draining);
    book.early
        .iter_mut()
        .zip(before.early.iter())
        .for_each(|(to, from)| *to = *from);
    book.held = before.early.len() as u8;
    for (place, waiting) in fresh
        .waiting
        .iter_mut()
        .zip(before.waiting.iter().flatten())
    {
        *place = Waiting {
            since: waiting.since.0,
            ticket: waiting.ticket.0,
            reserved: 0,
        };
    }
    Ok(fresh)
}
