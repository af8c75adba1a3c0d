//! The supervisor: builds the machine from its manifest and is told of everything that goes wrong in it.

use super::{DriverReply, Input, MailRequest, Role, RoleKind};
use crate::effect::{Effect, Supervise};
use crate::fault::FaultReport;
use crate::fixed::Fixed;
use crate::message::{Body, Message, Stop};
use crate::units::{ServerId, TicketId, Ticks, TimerId};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SupervisorEvent<'m> {
    /// A server's `Start`, or `Import`, was committed: the generation of its slot.
    ServerStarted(ServerId, u32),
    /// A server was faulted.
    ServerFaulted(&'m FaultReport),
    /// The loader has placed the guest.
    Loaded,
    /// The virtual machine stopped.
    MachineStopped(Stop),
    /// A request was answered, or given up.
    Answered(u32, Option<&'m [u8]>),
    /// A timer expired.
    Timer(TimerId),
    /// A server that was to be succeeded goes on itself.
    Released(ServerId),
}

/// What the supervisor may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SupervisorEffect<'a> {
    /// Build and run the machine.
    Supervise(Supervise<'a>),
    /// Ask a server.
    Request(ServerId, u32, &'a [u8]),
    /// Stop the virtual machine.
    Stop(Stop),
    /// Answer a request.
    Reply(TicketId, &'a [u8]),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
}

impl<'a> From<SupervisorEffect<'a>> for Effect<'a> {
    fn from(effect: SupervisorEffect<'a>) -> Self {
        match effect {
            SupervisorEffect::Supervise(supervise) => Effect::Supervise(supervise),
            SupervisorEffect::Request(to, token, bytes) => Effect::Request(to, token, bytes),
            SupervisorEffect::Stop(why) => Effect::Stop(why),
            SupervisorEffect::Reply(ticket, bytes) => Effect::Reply(ticket, bytes),
            SupervisorEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
        }
    }
}

impl Role for Supervisor {
    const KIND: RoleKind = RoleKind::Supervisor;
    type Request<'m> = MailRequest<'m>;
    type Event<'m> = SupervisorEvent<'m>;
    type Reply = DriverReply;
    type Effect<'a> = SupervisorEffect<'a>;
    type State = crate::interchange::Immovable;

    fn input<'m>(message: &'m Message<'m>) -> Option<Input<MailRequest<'m>, SupervisorEvent<'m>>> {
        Some(Input::Event(match &message.body {
            Body::ServerStarted(server, generation) => {
                SupervisorEvent::ServerStarted(*server, *generation)
            }
            Body::ServerFaulted(report) => SupervisorEvent::ServerFaulted(report),
            Body::Loaded => SupervisorEvent::Loaded,
            Body::MachineStopped(stop) => SupervisorEvent::MachineStopped(*stop),
            Body::Answered(token, bytes) => SupervisorEvent::Answered(*token, *bytes),
            Body::Released(server) => SupervisorEvent::Released(*server),
            Body::Timer(timer) => SupervisorEvent::Timer(*timer),
            Body::Request(..) => return MailRequest::of(message).map(Input::Request),
            _ => return None,
        }))
    }

    fn reply(reply: DriverReply) -> Option<Effect<'static>> {
        reply.effect()
    }

    /// There is none: without a supervisor there is no machine.
    fn fallback(_: MailRequest<'_>) -> DriverReply {
        DriverReply::Later(Ticks(0))
    }
}
