//! What the control server asks for.

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::effect::Supervise;
use atoll_protocol::order::{Order, Outcome};
use atoll_protocol::role::{DriverReply, MailRequest, Supervisor, SupervisorEffect};
use atoll_protocol::units::{ServerId, TicketId};
use atoll_sdk::{Effects, Vault};

use crate::{Progress, SupervisorServer, swap, upload, watch};

/// Takes an order.
pub(crate) fn take(
    vault: &mut Vault<'_, SupervisorServer>,
    request: MailRequest<'_>,
    effects: &mut Effects<'_, Supervisor>,
) -> DriverReply {
    let outcome = match postcard::from_bytes(request.bytes) {
        Ok(Order::Kill(id)) => kill(vault, id, effects),
        Ok(Order::Upload(length, sum)) => upload::begin(vault, length, sum, effects),
        Ok(Order::Piece(offset, sum, bytes)) => upload::piece(vault, offset, sum, bytes, effects),
        Ok(Order::Swap(id, force, image)) => {
            match swap::begin(vault, id, force, image, request.ticket, effects) {
                Ok(until) => return DriverReply::Later(until),
                Err(outcome) => outcome,
            }
        }
        Err(_) => Outcome::NotUnderstood,
    };
    answer(request.ticket, outcome, effects);
    DriverReply::Replied
}

pub(crate) fn answer(ticket: TicketId, outcome: Outcome, effects: &mut Effects<'_, Supervisor>) {
    let mut page = [0; MAIL_BYTES];
    let bytes = postcard::to_slice(&outcome, &mut page).map_or(&[][..], |bytes| bytes);
    effects.emit(SupervisorEffect::Reply(ticket, bytes));
}

fn kill(
    vault: &mut Vault<'_, SupervisorServer>,
    id: ServerId,
    effects: &mut Effects<'_, Supervisor>,
) -> Outcome {
    if !exists(vault, id) {
        return Outcome::NoSuchServer;
    }
    if !watch::is_in_service(vault, id) || swap::concerns(vault, id) {
        return Outcome::NotNow;
    }
    effects.emit(SupervisorEffect::Supervise(Supervise::Kill(id)));
    Outcome::Done
}

/// Whether there is a server with this number: it was made, and is no loader that has done its work.
pub(crate) fn exists(vault: &Vault<'_, SupervisorServer>, id: ServerId) -> bool {
    let progress = &vault.progress;
    let made = if progress.phase == Progress::BUILDING {
        progress.server
    } else {
        progress.servers
    };
    let gone = progress.placed != 0 && id.number() == progress.loader;
    id.number() <= made && !gone
}
