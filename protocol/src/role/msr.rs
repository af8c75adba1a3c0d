//! RDMSR and WRMSR of everything that no other server's route claims.

use super::{Input, Never, Role, RoleKind};
use crate::effect::Effect;
use crate::fixed::Fixed;
use crate::message::{Body, Message, MsrExit};
use crate::units::Gpa;
use crate::vcpu::{Exception, SystemRegister};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Msr;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MsrRequest<'m> {
    /// RDMSR.
    Read(&'m MsrExit),
    /// WRMSR.
    Write(&'m MsrExit),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrReply {
    /// The value read.
    Value(u64),
    /// The write is done.
    Done,
    /// There is no such MSR, or not that value.
    GeneralProtection,
}

/// What an MSR server may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MsrEffect<'a> {
    /// Set a register that the vCPU record holds (EFER, PAT, TSC).
    Set(SystemRegister, u64),
    /// Write guest memory (kvmclock's pages).
    GuestWrite(Gpa, &'a [u8]),
}

impl<'a> From<MsrEffect<'a>> for Effect<'a> {
    #[inline(always)]
    fn from(effect: MsrEffect<'a>) -> Self {
        match effect {
            MsrEffect::Set(register, value) => Effect::System(register, Fixed(value)),
            MsrEffect::GuestWrite(gpa, bytes) => Effect::GuestWrite(Fixed(gpa), bytes),
        }
    }
}

impl Role for Msr {
    const KIND: RoleKind = RoleKind::Msr;
    type Request<'m> = MsrRequest<'m>;
    type Event<'m> = Never;
    type Reply = MsrReply;
    type Effect<'a> = MsrEffect<'a>;
    type State = crate::interchange::MsrState;

    #[inline(always)]
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<MsrRequest<'m>, Never>> {
        match &message.body {
            Body::MsrRead(exit) => Some(Input::Request(MsrRequest::Read(&exit.0))),
            Body::MsrWrite(exit) => Some(Input::Request(MsrRequest::Write(&exit.0))),
            _ => None,
        }
    }

    #[inline(always)]
    fn reply(reply: MsrReply) -> Option<Effect<'static>> {
        Some(match reply {
            MsrReply::Value(value) => Effect::Value(Fixed(value)),
            MsrReply::Done => Effect::Done,
            MsrReply::GeneralProtection => Effect::Exception(Fixed(Exception::PROTECTION)),
        })
    }

    fn fallback(_: MsrRequest<'_>) -> MsrReply {
        MsrReply::GeneralProtection
    }
}
