//! Interrupt controllers: they see every line and every access to them, and offer one vector per virtual CPU.

use super::{Input, PortRequest, Role, RoleKind};
use crate::effect::{Effect, Offer};
use crate::fixed::Fixed;
use crate::message::{Body, LineChange, Message, MmioExit, MsrExit};
use crate::units::{Ticks, TimerId};
use crate::vcpu::{Exception, SystemRegister};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Irqchip;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IrqchipRequest<'m> {
    /// The 8259s.
    Port(PortRequest),
    /// Loads from the IOAPIC and the local APICs.
    Load(&'m MmioExit),
    /// Stores to them.
    Store(&'m MmioExit),
    /// RDMSR of APIC_BASE, TSC_DEADLINE and the x2APIC registers.
    ReadMsr(&'m MsrExit),
    /// WRMSR of them.
    WriteMsr(&'m MsrExit),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqchipReply {
    /// The value read.
    Value(u64),
    /// The write is done.
    Done,
    /// There is no such MSR, or not that value.
    GeneralProtection,
}

/// What happens on its own. Any message may carry an accepted vector: the SDK gives it as an event of its own, ahead of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqchipEvent {
    /// A line changed.
    Line(LineChange),
    /// A timer expired.
    Timer(TimerId),
    /// The vCPU accepted the vector that was on offer.
    Accepted(u8),
    /// Nothing but the header is new: an acceptance was told, or the task priority changed.
    Header,
}

/// What interrupt controllers may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IrqchipEffect {
    /// Offer the highest pending vector.
    Offer(Offer),
    /// Arm a timer at an absolute time.
    Arm(TimerId, Ticks),
    /// Disarm a timer.
    Disarm(TimerId),
    /// The class of the task priority, 0 to 15: what CR8 reads, and what the kernel blocks offers by.
    TaskPriority(u8),
    /// Whether the local APIC is enabled (APIC_BASE.EN).
    Enabled(bool),
}

impl From<IrqchipEffect> for Effect<'_> {
    #[inline(always)]
    fn from(effect: IrqchipEffect) -> Self {
        match effect {
            IrqchipEffect::Offer(offer) => Effect::Offer(Fixed(offer)),
            IrqchipEffect::Arm(timer, at) => Effect::Arm(timer, Fixed(at)),
            IrqchipEffect::Disarm(timer) => Effect::Disarm(timer),
            IrqchipEffect::TaskPriority(class) => {
                Effect::System(SystemRegister::TaskPriority, Fixed(u64::from(class)))
            }
            IrqchipEffect::Enabled(enabled) => {
                Effect::System(SystemRegister::ApicEnabled, Fixed(u64::from(enabled)))
            }
        }
    }
}

impl Role for Irqchip {
    const KIND: RoleKind = RoleKind::Irqchip;
    type Request<'m> = IrqchipRequest<'m>;
    type Event<'m> = IrqchipEvent;
    type Reply = IrqchipReply;
    type Effect<'a> = IrqchipEffect;
    type State = crate::interchange::IrqchipState;

    #[inline(always)]
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<IrqchipRequest<'m>, IrqchipEvent>> {
        Some(match &message.body {
            Body::MmioRead(exit) => Input::Request(IrqchipRequest::Load(&exit.0)),
            Body::MmioWrite(exit) => Input::Request(IrqchipRequest::Store(&exit.0)),
            Body::MsrRead(exit) => Input::Request(IrqchipRequest::ReadMsr(&exit.0)),
            Body::MsrWrite(exit) => Input::Request(IrqchipRequest::WriteMsr(&exit.0)),
            Body::Line(change) => Input::Event(IrqchipEvent::Line(*change)),
            Body::Timer(timer) => Input::Event(IrqchipEvent::Timer(*timer)),
            Body::Accepted => Input::Event(IrqchipEvent::Header),
            _ => {
                return PortRequest::of(message)
                    .map(|request| Input::Request(IrqchipRequest::Port(request)));
            }
        })
    }

    #[inline(always)]
    fn accepted(vector: u8) -> Option<IrqchipEvent> {
        Some(IrqchipEvent::Accepted(vector))
    }

    #[inline(always)]
    fn reply(reply: IrqchipReply) -> Option<Effect<'static>> {
        Some(match reply {
            IrqchipReply::Value(value) => Effect::Value(Fixed(value)),
            IrqchipReply::Done => Effect::Done,
            IrqchipReply::GeneralProtection => Effect::Exception(Fixed(Exception::PROTECTION)),
        })
    }

    fn fallback(request: IrqchipRequest<'_>) -> IrqchipReply {
        match request {
            IrqchipRequest::Port(PortRequest { write: Some(_), .. }) | IrqchipRequest::Store(_) => {
                IrqchipReply::Done
            }
            IrqchipRequest::Port(_) | IrqchipRequest::Load(_) => IrqchipReply::Value(u64::MAX),
            IrqchipRequest::ReadMsr(_) | IrqchipRequest::WriteMsr(_) => {
                IrqchipReply::GeneralProtection
            }
        }
    }
}
