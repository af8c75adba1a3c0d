//! Roles: what may be asked of each emulation component, and what it may answer.
//!
//! A *role* is an interface; a *server* is one implementation of it. A role's `Effect` type is all that its servers can express:
//! a CPUID server has none, so it cannot even name a port write. Beside it a server of any role may write to the log.

use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::interchange::Interchange;
use crate::message::Message;

pub mod console_mail;
mod cpuid;
mod driver;
mod fallback;
mod hypercall;
mod irqchip;
mod loader;
mod mmu;
mod msr;
mod port;
mod supervisor;

pub use cpuid::{Cpuid, CpuidRequest};
pub use driver::{Console, Control, DriverEffect, DriverEvent, DriverReply, MailRequest};
pub use fallback::fallback;
pub use hypercall::{Hypercall, HypercallRequest};
pub use irqchip::{Irqchip, IrqchipEffect, IrqchipEvent, IrqchipReply, IrqchipRequest};
pub use loader::{LoadReply, LoadRequest, Loader, LoaderEffect};
pub use mmu::{Mmu, MmuEffect, MmuReply, MmuRequest};
pub use msr::{Msr, MsrEffect, MsrReply, MsrRequest};
pub use port::{
    Clock, DeviceEffect, DeviceEvent, PortRequest, Power, PowerEffect, Serial, SerialEffect,
    SerialEvent, Timer,
};
pub use supervisor::{Supervisor, SupervisorEffect, SupervisorEvent};

/// The roles, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum RoleKind {
    /// Loads, watches, restarts and swaps the others.
    Supervisor,
    /// Places the guest in memory.
    Loader,
    /// Answers CPUID.
    Cpuid,
    /// Answers RDMSR and WRMSR.
    Msr,
    /// Answers VMMCALL.
    Hypercall,
    /// Decides the nested page tables and decodes instructions.
    Mmu,
    /// Interrupt controllers.
    Irqchip,
    /// Interval timers.
    Timer,
    /// Real-time clocks.
    Clock,
    /// Power management.
    Power,
    /// Serial ports.
    Serial,
    /// The guest's console on the host.
    Console,
    /// The host tool's line into the machine.
    Control,
}

impl RoleKind {
    /// Every role with its name in manifests.
    pub const ALL: [(RoleKind, &'static str); 13] = [
        (RoleKind::Supervisor, "supervisor"),
        (RoleKind::Loader, "loader"),
        (RoleKind::Cpuid, "cpuid"),
        (RoleKind::Msr, "msr"),
        (RoleKind::Hypercall, "hypercall"),
        (RoleKind::Mmu, "mmu"),
        (RoleKind::Irqchip, "irqchip"),
        (RoleKind::Timer, "timer"),
        (RoleKind::Clock, "clock"),
        (RoleKind::Power, "power"),
        (RoleKind::Serial, "serial"),
        (RoleKind::Console, "console"),
        (RoleKind::Control, "control"),
    ];

    /// The role's name in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("?", |(_, name)| name)
    }
}

/// What arrives at a server, typed by its role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input<Request, Event> {
    /// Something waits for the reply.
    Request(Request),
    /// Something happened; nothing waits.
    Event(Event),
}

/// An effect that does not exist: the effect type of roles that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl From<Never> for Effect<'_> {
    fn from(never: Never) -> Self {
        match never {}
    }
}

/// An interface that servers implement.
pub trait Role: 'static {
    /// Which role this is.
    const KIND: RoleKind;
    /// A question that waits for a reply.
    type Request<'m>: Copy;
    /// Something that happened, to which there is no reply.
    type Event<'m>: Copy;
    /// What answers a request.
    type Reply;
    /// All that a server of this role may do beside replying.
    type Effect<'a>: Into<Effect<'a>>;
    /// What another server of this role must know to go on.
    type State: Interchange;

    /// Types a message; `None` if it is not for this role.
    fn input<'m>(message: &'m Message<'m>) -> Option<Input<Self::Request<'m>, Self::Event<'m>>>;

    /// The event by which a role learns that a vCPU accepted what it offered; only interrupt controllers have one.
    #[inline(always)]
    fn accepted(_vector: u8) -> Option<Self::Event<'static>> {
        None
    }

    /// The reply as an effect; `None` if an effect that completes or passes on the ticket has been emitted already.
    fn reply(reply: Self::Reply) -> Option<Effect<'static>>;

    /// What the guest sees when no server answers. There is no default: a role without a fallback does not compile.
    fn fallback(request: Self::Request<'_>) -> Self::Reply;
}
