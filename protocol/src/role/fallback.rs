//! What the guest sees of a role that no server answers for.

use super::{
    Clock, Console, Control, Cpuid, Hypercall, Input, Irqchip, Loader, Mmu, Msr, Power, Role,
    RoleKind, Serial, Timer,
};
use crate::STRING_BYTES;
use crate::effect::Effect;
use crate::message::{Body, Message};

/// What reading a string from nobody's port gives.
static ONES: [u8; STRING_BYTES] = [0xff; STRING_BYTES];

/// The effect that completes `message` as `role` declares; `None` if nothing in it waits for a reply.
#[must_use]
pub fn fallback(role: RoleKind, message: &Message<'_>) -> Option<Effect<'static>> {
    match role {
        RoleKind::Supervisor => None,
        RoleKind::Loader => of::<Loader>(message),
        RoleKind::Cpuid => of::<Cpuid>(message),
        RoleKind::Msr => of::<Msr>(message),
        RoleKind::Hypercall => of::<Hypercall>(message),
        RoleKind::Mmu => of::<Mmu>(message),
        RoleKind::Irqchip => of::<Irqchip>(message),
        RoleKind::Timer => of::<Timer>(message),
        RoleKind::Clock => of::<Clock>(message),
        RoleKind::Power => of::<Power>(message),
        RoleKind::Serial => of::<Serial>(message),
        RoleKind::Console => of::<Console>(message),
        RoleKind::Control => of::<Control>(message),
    }
}

/// String accesses are many single ones to a server, but one ticket: a device that is not there reads as all ones.
fn of<R: Role>(message: &Message<'_>) -> Option<Effect<'static>> {
    match &message.body {
        Body::PortReadString(exit) => {
            let length = (exit.0.count as usize).saturating_mul(usize::from(exit.0.size));
            ONES.get(..length).map(Effect::Data)
        }
        Body::PortWriteString(..) => Some(Effect::Done),
        _ => match R::input(message)? {
            Input::Request(request) => R::reply(R::fallback(request)),
            Input::Event(_) => None,
        },
    }
}
