//! The portable part of Atoll's kernel: everything but the hardware. Built and tested on the host against a simulated machine.
//!
//! One exit, in reading order:
//!
//! 1. [`vcpu`]: the registers and events of a virtual CPU, and its VMCB.
//! 2. [`exit`]: a #VMEXIT becomes a ticket and a message for the server whose [`routes`] name it; [`emulation`]: for those that take an
//!    emulator.
//! 3. [`delivery`]: the message is encoded, the server activated, its answer decoded.
//! 4. [`usual`]: an answer of the usual form is judged at once; the others go on:
//!    [`check`]: every effect is checked, in order, against the server's rights; one that fails faults the server.
//! 5. [`commit`]: all effects are carried out; completing the [`ticket`] finishes the guest's instruction.
//! 6. [`run`]: whatever is in the [`mailbox`]es is delivered, events are prepared, and the guest runs on.
//!
//! [`machine`] is what lies between this and the hardware, in small traits; [`supervise`] is what only the supervisor may do, [`restart`] what becomes
//! of a server that breaks a rule.
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

#[cfg(test)]
extern crate std;

pub mod check;
pub mod commit;
pub mod delivery;
pub mod emulation;
pub mod exit;
pub mod ids;
#[cfg(feature = "fault-injection")]
pub mod inject;
pub mod machine;
pub mod mailbox;
pub mod observe;
pub mod patience;
pub mod quirks;
pub mod report;
pub mod restart;
pub mod routes;
pub mod run;
pub mod server;
pub mod share;
pub mod statistics;
mod stray;
pub mod supervise;
pub mod swap;
pub mod ticket;
pub mod timers;
pub mod usual;
pub mod vcpu;

use atoll_protocol::message::Stop;
use atoll_protocol::units::{LineId, ServerId, Ticks};

use crate::ids::{PerServer, Set};
use crate::machine::Machine;
use crate::mailbox::Mailbox;
use crate::restart::Relapse;
use crate::routes::Routes;
use crate::server::Server;
use crate::share::Share;
use crate::statistics::Statistics;
use crate::swap::Succession;
use crate::ticket::Tickets;
use crate::timers::Timers;
use crate::vcpu::Vcpu;
use crate::vcpu::vmcb::Vmcb;

/// The kernel: its state, and apart from it the pages of the conversation, so that an answer can be read while it is carried out.
#[repr(C)]
pub struct Kernel<M: Machine> {
    /// All but the pages.
    pub state: State<M>,
    /// The message and answer pages.
    pub pages: M::Pages,
}

/// The kernel's state.
#[repr(C)]
pub struct State<M> {
    /// The virtual CPU: first, since its VMCB must lie at a page boundary.
    pub vcpu: Vcpu,
    /// The hardware.
    pub machine: M,
    /// The servers, by number; 0 is the supervisor.
    pub servers: PerServer<Server>,
    /// Who gets which exit.
    pub routes: Routes,
    /// What waits.
    pub tickets: Tickets,
    /// Servers' timers.
    pub timers: Timers,
    /// Where the time went.
    pub statistics: Statistics,
    /// Servers with something in their mailbox.
    pub ready: Set<ServerId>,
    /// Where the round of deliveries goes on.
    pub(crate) turn: ServerId,
    /// Whether it is the guest's turn, whatever waits in mailboxes.
    pub(crate) due: bool,
    /// Whether there was an activation of some length.
    pub(crate) long: bool,
    /// What servers have used of the guest's time.
    pub(crate) share: Share,
    /// When the hardware's timer will fire.
    pub(crate) armed: Ticks,
    /// Whether the vCPUs may run: the supervisor lets them, and no server is absent.
    pub running: bool,
    /// The succession that is under way.
    pub(crate) succession: Option<Succession>,
    /// The state that goes from one server to the other.
    pub(crate) interchange: [u8; atoll_protocol::INTERCHANGE_BYTES],
    /// Slots with a new owner: their pages of the conversation are still to be cleared.
    pub(crate) new_owners: Set<ServerId>,
    /// From where on the bundle may be written.
    pub(crate) reserve: u64,
    /// Whether the supervisor lets the vCPUs run.
    pub(crate) wanted: bool,
    /// Servers that cannot answer now but will, or somebody for them: the guest must not notice, so it does not run meanwhile.
    pub(crate) absent: Set<ServerId>,
    /// Where the supervisor stood at its last fault, and how often it was restarted there.
    pub(crate) relapse: Relapse,
    /// Why the machine stopped by itself, if it did.
    pub stopped: Option<Stop>,
    /// What to leave with.
    pub(crate) leave: Option<u8>,
    /// Accesses to ports that are nobody's.
    pub stray_ports: u64,
    /// Accesses to device memory that is nobody's.
    pub stray_memory: u64,
    /// Which of them are touched most.
    pub(crate) strays: stray::Strays,
    /// Levels of the machine's lines as their devices drive them.
    pub levels: Set<LineId>,
    /// The words that describe forwarded accesses to device memory that were checked: see [`usual`].
    pub(crate) good_shapes: [u64; usual::SHAPES],
    /// Bytes of a string access on their way from one server to another.
    pub(crate) string: [u8; atoll_protocol::STRING_BYTES],
    pub(crate) string_length: usize,
    /// The faults to be injected.
    #[cfg(feature = "fault-injection")]
    pub inject: inject::Injector,
}

impl<M: Machine> Kernel<M> {
    /// A kernel without servers. Const, so that it can be a static: it is far too large for a stack.
    pub const fn new(machine: M, pages: M::Pages, vmcb: Vmcb) -> Self {
        Kernel {
            state: State {
                vcpu: Vcpu {
                    vmcb,
                    ..Vcpu::STOPPED
                },
                machine,
                servers: PerServer([const { Server::EMPTY }; ServerId::COUNT]),
                routes: Routes::NONE,
                tickets: Tickets::NONE,
                timers: Timers::NONE,
                statistics: Statistics::NONE,
                ready: Set::EMPTY,
                turn: ServerId::SUPERVISOR,
                due: false,
                long: false,
                share: Share::NONE,
                armed: Ticks(u64::MAX),
                running: false,
                succession: None,
                interchange: [0; atoll_protocol::INTERCHANGE_BYTES],
                new_owners: Set::EMPTY,
                reserve: u64::MAX,
                wanted: false,
                absent: Set::EMPTY,
                relapse: Relapse::NONE,
                stopped: None,
                leave: None,
                stray_ports: 0,
                stray_memory: 0,
                strays: stray::Strays::NONE,
                levels: Set::EMPTY,
                good_shapes: [u64::MAX; usual::SHAPES],
                string: [0; atoll_protocol::STRING_BYTES],
                string_length: 0,
                #[cfg(feature = "fault-injection")]
                inject: inject::Injector::IDLE,
            },
            pages,
        }
    }
}

impl<M: Machine> State<M> {
    /// Puts something into a server's mailbox and sees to it that it is delivered.
    #[inline(always)]
    pub(crate) fn post(&mut self, to: ServerId, what: impl FnOnce(&mut Mailbox)) {
        what(&mut self.servers[to].mailbox);
        self.ready.insert(to);
    }
}
