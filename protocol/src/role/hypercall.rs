//! VMMCALL by the KVM convention (number in RAX, arguments in RBX, RCX, RDX, RSI, result in RAX).

use super::{Input, Never, Role, RoleKind};
use crate::effect::Effect;
use crate::fixed::Fixed;
use crate::message::{Body, HypercallExit, Message};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Hypercall;

/// What is asked.
pub type HypercallRequest = HypercallExit;

impl Hypercall {
    /// "No such call", as KVM says it.
    pub const NO_SUCH_CALL: u64 = (-1000_i64) as u64;
    /// "Not from user mode", as KVM says it.
    pub const NOT_PERMITTED: u64 = (-1_i64) as u64;
}

impl Role for Hypercall {
    const KIND: RoleKind = RoleKind::Hypercall;
    type Request<'m> = &'m HypercallRequest;
    type Event<'m> = Never;
    type Reply = u64;
    type Effect<'a> = Never;
    type State = crate::interchange::NoState;

    #[inline(always)]
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<Self::Request<'m>, Never>> {
        match &message.body {
            Body::Hypercall(exit) => Some(Input::Request(&exit.0)),
            _ => None,
        }
    }

    #[inline(always)]
    fn reply(reply: u64) -> Option<Effect<'static>> {
        Some(Effect::Value(Fixed(reply)))
    }

    fn fallback(_: Self::Request<'_>) -> u64 {
        Self::NO_SUCH_CALL
    }
}
