//! The MMU: which guest frame the guest may see where, and what an instruction that touches a device does.

use super::{Input, Never, Role, RoleKind};
use crate::effect::{Effect, Forward, GuestCas, Mapping};
use crate::fixed::Fixed;
use crate::message::{AccessDone, Body, InstructionExit, Message, NestedFault, StringIoExit};
use crate::units::Gpa;
use crate::vcpu::{Context, Exception, Registers, SystemRegister};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Mmu;

/// What is asked. Registers are there only after [`MmuReply::NeedRegisters`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MmuRequest<'m> {
    /// A nested page fault on the guest's RAM.
    Memory(&'m NestedFault),
    /// A nested page fault elsewhere, or one on RAM for which registers were asked.
    Fault(&'m NestedFault, &'m Context, Option<&'m Registers>),
    /// INS or OUTS.
    StringIo(&'m StringIoExit, &'m Context, Option<&'m Registers>),
    /// An instruction to decode.
    Instruction(&'m InstructionExit, &'m Context, &'m Registers),
    /// A forwarded access with [`Forward::RETURN`] is done; the bytes are those of a string read.
    Done(&'m AccessDone, &'m Context, &'m Registers, &'m [u8]),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmuReply {
    /// Go on: at the same instruction (a mapping was made) or where the effects have set RIP.
    Resume,
    /// A `Forward` effect has passed the ticket on.
    Forwarded,
    /// Ask again, with registers.
    NeedRegisters,
    /// The guest takes an exception.
    Exception(Exception),
}

/// What an MMU may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MmuEffect<'a> {
    /// Map guest memory.
    Map(Mapping),
    /// Unmap guest memory.
    Unmap(Mapping),
    /// Pass the access on to whichever device owns the address; the bytes are those of a string write.
    Forward(Forward, &'a [u8]),
    /// Set a general register (encoding order).
    Register(u8, u64),
    /// Set a system register.
    System(SystemRegister, u64),
    /// Write guest memory (INS, MOVS).
    GuestWrite(Gpa, &'a [u8]),
    /// Set accessed and dirty bits.
    GuestCas(GuestCas),
}

impl<'a> From<MmuEffect<'a>> for Effect<'a> {
    #[inline(always)]
    fn from(effect: MmuEffect<'a>) -> Self {
        match effect {
            MmuEffect::Map(mapping) => Effect::Map(Fixed(mapping)),
            MmuEffect::Unmap(mapping) => Effect::Unmap(Fixed(mapping)),
            MmuEffect::Forward(forward, bytes) => Effect::Forward(Fixed(forward), bytes),
            MmuEffect::Register(register, value) => Effect::Register(register, Fixed(value)),
            MmuEffect::System(register, value) => Effect::System(register, Fixed(value)),
            MmuEffect::GuestWrite(gpa, bytes) => Effect::GuestWrite(Fixed(gpa), bytes),
            MmuEffect::GuestCas(cas) => Effect::GuestCas(Fixed(cas)),
        }
    }
}

impl Role for Mmu {
    const KIND: RoleKind = RoleKind::Mmu;
    type Request<'m> = MmuRequest<'m>;
    type Event<'m> = Never;
    type Reply = MmuReply;
    type Effect<'a> = MmuEffect<'a>;
    type State = crate::interchange::NoState;

    #[inline(always)]
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<MmuRequest<'m>, Never>> {
        Some(Input::Request(match &message.body {
            Body::MemoryFault(exit) => MmuRequest::Memory(&exit.0),
            Body::NestedFault(exit, context, registers) => {
                MmuRequest::Fault(&exit.0, &context.0, registers.as_ref().map(|r| &r.0))
            }
            Body::StringIo(exit, context, registers) => {
                MmuRequest::StringIo(&exit.0, &context.0, registers.as_ref().map(|r| &r.0))
            }
            Body::Instruction(exit, context, registers) => {
                MmuRequest::Instruction(&exit.0, &context.0, &registers.0)
            }
            Body::AccessDone(done, context, registers, bytes) => {
                MmuRequest::Done(&done.0, &context.0, &registers.0, bytes)
            }
            _ => return None,
        }))
    }

    #[inline(always)]
    fn reply(reply: MmuReply) -> Option<Effect<'static>> {
        match reply {
            MmuReply::Resume => Some(Effect::Resume),
            MmuReply::Forwarded => None,
            MmuReply::NeedRegisters => Some(Effect::NeedRegisters),
            MmuReply::Exception(exception) => Some(Effect::Exception(Fixed(exception))),
        }
    }

    /// An instruction that nobody can carry out is not there.
    fn fallback(_: MmuRequest<'_>) -> MmuReply {
        MmuReply::Exception(Exception::UNDEFINED)
    }
}
