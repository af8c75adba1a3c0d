//! The driver's state for another server of the role, and from one.

use atoll_console::device::FIFO;
use atoll_protocol::interchange::{Bytes, ControlState as Exchanged, Question};
use atoll_sdk::Refuse;

use crate::state::{ControlState, DUMP, EXITS, MACHINE, NOTHING, ORDER, SERVERS};

/// The questions by their numbers here.
const QUESTIONS: [(u8, Question); 5] = [
    (SERVERS, Question::Servers),
    (EXITS, Question::Exits),
    (MACHINE, Question::Machine),
    (ORDER, Question::Order),
    (DUMP, Question::Dump),
];

/// What another must know to go on.
pub(crate) fn export(state: &ControlState) -> Exchanged {
    let book = &state.book;
    let (sent, length) = (usize::from(book.sent), usize::from(book.length));
    Exchanged {
        question: QUESTIONS
            .iter()
            .find(|(number, _)| *number == book.answering)
            .map(|(_, question)| *question),
        next: book.next,
        asked: book.querying != 0,
        target: book.target,
        order: Bytes::of(state.order.iter().take(usize::from(book.ordered))),
        input: Bytes::of(state.input.iter().take(usize::from(book.came))),
        skipping: book.skipping != 0,
        stalled: book.stalled != 0,
        draining: book.draining,
        frame: Bytes::of(state.frame.iter().take(length).skip(sent)),
        filling: book.filling,
    }
}

/// The state to go on with, from a fresh one.
pub(crate) fn import(mut fresh: ControlState, before: &Exchanged) -> Result<ControlState, Refuse> {
    if usize::from(before.filling) > before.frame.len() || usize::from(before.draining) > FIFO {
        return Err(Refuse::BadState);
    }
    let number = |question| {
        QUESTIONS
            .iter()
            .find(|(_, it)| *it == question)
            .map(|(number, _)| *number)
    };
    let copy =
        |to: &mut [u8], from: &[u8]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    copy(&mut fresh.order, &before.order);
    copy(&mut fresh.input, &before.input);
    copy(&mut fresh.frame, &before.frame);
    let book = &mut fresh.book;
    book.answering = before.question.and_then(number).unwrap_or(NOTHING);
    (book.next, book.querying) = (before.next, before.asked.into());
    (book.target, book.ordered) = (before.target, before.order.len() as u16);
    (book.came, book.skipping, book.stalled) = (
        before.input.len() as u16,
        before.skipping.into(),
        before.stalled.into(),
    );
    (book.length, book.filling, book.draining) =
        (before.frame.len() as u16, before.filling, before.draining);
    Ok(fresh)
}
