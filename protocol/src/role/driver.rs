//! Drivers of the host's own devices: the console's and the control line's serial ports.

use super::{Input, Role, RoleKind};
use crate::effect::{Effect, Fifo, Query};
use crate::fixed::Fixed;
use crate::interchange::{ConsoleState, ControlState};
use crate::message::{Body, Message};
use crate::units::{HostIrq, ServerId, TicketId, Ticks, TimerId};

/// The role of the guest's console on the host.
#[derive(Clone, Copy, Debug)]
pub struct Console;

/// The role of the host tool's line into the machine.
#[derive(Clone, Copy, Debug)]
pub struct Control;

/// A request by mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailRequest<'m> {
    /// Who asks.
    pub from: ServerId,
    /// The ticket, for a late [`DriverEffect::Reply`].
    pub ticket: TicketId,
    /// What is asked.
    pub bytes: &'m [u8],
}

impl<'m> MailRequest<'m> {
    #[inline(always)]
    pub(super) fn of(message: &'m Message<'m>) -> Option<Self> {
        match &message.body {
            Body::Request(from, bytes) => Some(MailRequest {
                from: *from,
                ticket: message.header.0.ticket,
                bytes,
            }),
            _ => None,
        }
    }
}

/// What is answered to a request by mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverReply {
    /// A [`DriverEffect::Reply`] has answered it.
    Replied,
    /// A later activation will, until then at the latest.
    Later(Ticks),
}

impl DriverReply {
    #[inline(always)]
    pub(super) fn effect(self) -> Option<Effect<'static>> {
        match self {
            DriverReply::Replied => None,
            DriverReply::Later(until) => Some(Effect::Defer(Fixed(until))),
        }
    }
}

/// What happens to a driver on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverEvent<'m> {
    /// The device's interrupt.
    HostIrq(HostIrq),
    /// The result of `PortIn`.
    PortValue(u32),
    /// The result of `Drain`.
    Drained(&'m [u8]),
    /// The result of `Fill`.
    Filled(u16),
    /// A timer expired.
    Timer(TimerId),
    /// Mail.
    Mail(ServerId, &'m [u8]),
    /// The result of `Query`: one record.
    Record(&'m [u8]),
    /// The answer to `Request`, by its token; `None` if it was given up (control only).
    Answered(u32, Option<&'m [u8]>),
}

/// What a driver may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverEffect<'a> {
    /// Write a port: number, size in bytes, value.
    PortOut(u16, u8, u32),
    /// Read a port: number, size in bytes.
    PortIn(u16, u8),
    /// Write bytes while the device takes them.
    Fill(Fifo, &'a [u8]),
    /// Read at most this many bytes while the device has them.
    Drain(Fifo, u16),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
    /// Disarm a timer.
    Disarm(TimerId),
    /// Send mail.
    Mail(ServerId, &'a [u8]),
    /// Answer a request.
    Reply(TicketId, &'a [u8]),
    /// Ask the kernel for a record (control only).
    Query(Query),
    /// Ask the supervisor: whom, a token that comes back with the answer, and what (control only).
    Request(ServerId, u32, &'a [u8]),
}

impl<'a> From<DriverEffect<'a>> for Effect<'a> {
    #[inline(always)]
    fn from(effect: DriverEffect<'a>) -> Self {
        match effect {
            DriverEffect::PortOut(port, size, value) => Effect::PortOut(port, size, value),
            DriverEffect::PortIn(port, size) => Effect::PortIn(port, size),
            DriverEffect::Fill(fifo, bytes) => Effect::Fill(fifo, bytes),
            DriverEffect::Drain(fifo, max) => Effect::Drain(fifo, max),
            DriverEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
            DriverEffect::Disarm(timer) => Effect::Disarm(timer),
            DriverEffect::Mail(to, bytes) => Effect::Mail(to, bytes),
            DriverEffect::Reply(ticket, bytes) => Effect::Reply(ticket, bytes),
            DriverEffect::Query(query) => Effect::Query(query),
            DriverEffect::Request(to, token, bytes) => Effect::Request(to, token, bytes),
        }
    }
}

#[inline(always)]
fn driver_input<'m>(message: &'m Message<'m>) -> Option<Input<MailRequest<'m>, DriverEvent<'m>>> {
    Some(match &message.body {
        Body::Request(..) => return MailRequest::of(message).map(Input::Request),
        Body::HostIrq(irq) => Input::Event(DriverEvent::HostIrq(*irq)),
        Body::PortValue(value) => Input::Event(DriverEvent::PortValue(*value)),
        Body::Drained(bytes) => Input::Event(DriverEvent::Drained(bytes)),
        Body::Filled(count) => Input::Event(DriverEvent::Filled(*count)),
        Body::Timer(timer) => Input::Event(DriverEvent::Timer(*timer)),
        Body::Mail(from, bytes) => Input::Event(DriverEvent::Mail(*from, bytes)),
        Body::Record(bytes) => Input::Event(DriverEvent::Record(bytes)),
        Body::Answered(token, bytes) => Input::Event(DriverEvent::Answered(*token, *bytes)),
        _ => return None,
    })
}

macro_rules! driver_role {
    ($name:ident, $state:ty) => {
        impl Role for $name {
            const KIND: RoleKind = RoleKind::$name;
            type Request<'m> = MailRequest<'m>;
            type Event<'m> = DriverEvent<'m>;
            type Reply = DriverReply;
            type Effect<'a> = DriverEffect<'a>;
            type State = $state;

            #[inline(always)]
            fn input<'m>(
                message: &'m Message<'m>,
            ) -> Option<Input<MailRequest<'m>, DriverEvent<'m>>> {
                driver_input(message)
            }

            #[inline(always)]
            fn reply(reply: DriverReply) -> Option<Effect<'static>> {
                reply.effect()
            }

            /// Nobody waits for a driver that is gone.
            fn fallback(_: MailRequest<'_>) -> DriverReply {
                DriverReply::Later(Ticks(0))
            }
        }
    };
}

driver_role!(Console, ConsoleState);
driver_role!(Control, ControlState);
