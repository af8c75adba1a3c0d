//! Questions into queries, records into answers.

use atoll_protocol::control::{Ask, DumpPart, ExitRecord, MachineRecord, ServerRecord, Tell};
use atoll_protocol::effect::Query;
use atoll_protocol::order::Outcome;
use atoll_protocol::role::{Control, DriverEffect};
use atoll_protocol::units::ServerId;
use atoll_sdk::{Effects, Vault};

use crate::state::{DUMP, EXITS, INPUT, MACHINE, NOBODY, NOTHING, ORDER, SERVERS};
use crate::{ControlServer, line};

/// Goes on as far as it can: sends, asks the kernel, or takes up the next question, one thing at a time.
pub(crate) fn advance(vault: &mut Vault<'_, ControlServer>, effects: &mut Effects<'_, Control>) {
    loop {
        if vault.book.length != 0 {
            return line::fill(vault, effects);
        }
        if vault.book.querying != 0 {
            return;
        }
        if vault.book.answering != NOTHING {
            if vault.book.answering == ORDER {
                vault.at(|s| &mut s.book).querying = 1;
                return order(vault, effects);
            }
            let query = match vault.book.answering {
                SERVERS => ServerId::new(vault.book.next).map(Query::Server),
                EXITS => Some(Query::Exit(vault.book.next)),
                DUMP => {
                    let part = vault.book.next;
                    ServerId::new(vault.book.target).map(|server| Query::Dump(server, part))
                }
                _ => Some(Query::Machine),
            };
            let Some(query) = query else {
                // No server has this number: behind the last one, or in a question.
                record(vault, &[]);
                continue;
            };
            vault.at(|s| &mut s.book).querying = 1;
            return effects.emit(DriverEffect::Query(query));
        }
        let taken = take(vault);
        if vault.book.stalled != 0 {
            line::drain(vault, effects);
        }
        if !taken {
            return;
        }
    }
}

/// Takes up the next question; false if there is none.
fn take(vault: &mut Vault<'_, ControlServer>) -> bool {
    let came = usize::from(vault.book.came).min(INPUT);
    let mut copy = vault.input;
    let waiting = copy.get(..came).unwrap_or(&[]);
    let Some(end) = waiting.iter().position(|byte| *byte == 0) else {
        if came == INPUT {
            let book = vault.at(|s| &mut s.book);
            (book.came, book.skipping) = (0, 1);
        }
        return false;
    };
    let after = end + 1;
    let skipped = vault.book.skipping != 0;
    let input = vault.at(|s| &mut s.input);
    input
        .iter_mut()
        .zip(waiting.iter().skip(after))
        .for_each(|(to, from)| *to = *from);
    let book = vault.at(|s| &mut s.book);
    book.came = (came - after) as u16;
    book.skipping = 0;
    if end == 0 && !skipped {
        // An empty frame only marks the beginning of the next.
        return true;
    }
    let ask = match copy.get_mut(..after) {
        Some(frame) if !skipped => postcard::from_bytes_cobs::<Ask<'_>>(frame).ok(),
        _ => None,
    };
    match ask {
        Some(Ask::Ping(number)) => tell(vault, &Tell::Pong(number)),
        Some(Ask::Servers) => answer(vault, SERVERS),
        Some(Ask::Exits) => answer(vault, EXITS),
        Some(Ask::Machine) => answer(vault, MACHINE),
        Some(Ask::Order(order)) => {
            match postcard::to_slice(&order, vault.at(|s| &mut s.order)).map(|bytes| bytes.len()) {
                Ok(length) => {
                    vault.at(|s| &mut s.book).ordered = length as u16;
                    answer(vault, ORDER);
                }
                Err(_) => tell(vault, &Tell::Outcome(Outcome::NotUnderstood)),
            }
        }
        Some(Ask::Dump(id)) => {
            vault.at(|s| &mut s.book).target = id;
            answer(vault, DUMP);
        }
        None => tell(vault, &Tell::End),
    }
    true
}

fn answer(vault: &mut Vault<'_, ControlServer>, what: u8) {
    let book = vault.at(|s| &mut s.book);
    (book.answering, book.next) = (what, 0);
}

/// Passes an order on to the supervisor.
fn order(vault: &mut Vault<'_, ControlServer>, effects: &mut Effects<'_, Control>) {
    if vault.book.supervisor == NOBODY {
        outcome(vault, None);
        return line::fill(vault, effects);
    }
    let order = vault
        .order
        .get(..usize::from(vault.book.ordered))
        .unwrap_or(&[]);
    effects.emit(DriverEffect::Request(
        ServerId::nth(vault.book.supervisor),
        0,
        order,
    ));
}

/// The supervisor has answered.
pub(crate) fn outcome(vault: &mut Vault<'_, ControlServer>, bytes: Option<&[u8]>) {
    let outcome = bytes
        .and_then(|bytes| postcard::from_bytes(bytes).ok())
        .unwrap_or(Outcome::NoAnswer);
    let book = vault.at(|s| &mut s.book);
    (book.querying, book.answering) = (0, NOTHING);
    tell(vault, &Tell::Outcome(outcome));
}

/// The kernel has answered the query. An empty record, or one that makes no sense, is the end of the list.
pub(crate) fn record(vault: &mut Vault<'_, ControlServer>, bytes: &[u8]) {
    let (what, next) = (vault.book.answering, vault.book.next);
    vault.at(|s| &mut s.book).querying = 0;
    let (told, last) = match what {
        SERVERS => (
            postcard::from_bytes::<ServerRecord<'_>>(bytes)
                .map(|record| (record.id, Tell::Server(record))),
            false,
        ),
        EXITS => (
            postcard::from_bytes::<ExitRecord<'_>>(bytes)
                .map(|record| (record.index, Tell::Exit(record))),
            false,
        ),
        DUMP => (
            postcard::from_bytes::<DumpPart<'_>>(bytes).map(|part| (next, Tell::Dump(part))),
            false,
        ),
        MACHINE => (
            postcard::from_bytes::<MachineRecord>(bytes).map(|record| (0, Tell::Machine(record))),
            true,
        ),
        _ => return,
    };
    let following = match &told {
        // The kernel may pass over indices that have nothing to say.
        Ok((index, _)) if !last => next.max(*index).checked_add(1),
        _ => None,
    };
    let book = vault.at(|s| &mut s.book);
    match following {
        Some(following) => book.next = following,
        None => book.answering = NOTHING,
    }
    tell(vault, told.as_ref().map_or(&Tell::End, |(_, tell)| tell));
}

/// Makes the frame that goes out next. The one before is gone: nothing is taken up earlier.
fn tell(vault: &mut Vault<'_, ControlServer>, tell: &Tell<'_>) {
    let frame = vault.at(|s| &mut s.frame);
    // A record that is too long for a frame ends the list.
    let length = postcard::to_slice_cobs(tell, frame)
        .map(|bytes| bytes.len())
        .ok();
    let length = length.or_else(|| {
        postcard::to_slice_cobs(&Tell::End, frame)
            .map(|bytes| bytes.len())
            .ok()
    });
    let book = vault.at(|s| &mut s.book);
    (book.sent, book.length) = (0, length.unwrap_or(0) as u16);
}
