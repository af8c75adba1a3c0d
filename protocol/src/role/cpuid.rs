//! CPUID: a pure function of the leaf and of what the host says.

use super::{Input, Never, Role, RoleKind};
use crate::effect::Effect;
use crate::fixed::Fixed;
use crate::message::{Body, CpuidExit, Leaf, Message};

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Cpuid;

/// What is asked.
pub type CpuidRequest = CpuidExit;

impl Role for Cpuid {
    const KIND: RoleKind = RoleKind::Cpuid;
    type Request<'m> = &'m CpuidRequest;
    type Event<'m> = Never;
    type Reply = Leaf;
    type Effect<'a> = Never;
    type State = crate::interchange::CpuidState;

    #[inline(always)]
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<Self::Request<'m>, Never>> {
        match &message.body {
            Body::Cpuid(exit) => Some(Input::Request(&exit.0)),
            _ => None,
        }
    }

    #[inline(always)]
    fn reply(reply: Leaf) -> Option<Effect<'static>> {
        Some(Effect::Leaf(Fixed(reply)))
    }

    /// An unknown leaf reads as zero (APM vol. 3, appendix E).
    fn fallback(_: Self::Request<'_>) -> Leaf {
        Leaf::default()
    }
}
