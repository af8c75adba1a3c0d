//! One server takes another's place while the guest runs.
//!
//! A *successor* is made in a free slot. The server that it is to succeed exports its state and is held: what is for it waits, and the
//! guest with it. The successor begins with that state. Then the memories of the two slots are exchanged in one answer of the supervisor's;
//! the role's slot, with all that belongs to it, stays. Whatever goes wrong before, the held server goes on as if nothing had been: also
//! when nobody calls the succession off in time.

use atoll_protocol::INTERCHANGE_BYTES;
use atoll_protocol::cause::{Cause, What};
use atoll_protocol::effect::Terms;
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, TicketId, Ticks};

use crate::delivery::{Due, Step, encode};
use crate::machine::Machine;
use crate::mailbox::IMPORT;
use crate::patience::Patience;
use crate::server::{Server, Standing};
use crate::statistics::Kind;
use crate::{Kernel, State};

/// How long a succession may take, in milliseconds: as long the guest may have to wait.
const LONGEST_MS: u64 = 500;
/// How often it is looked at after that, where the host may have stolen that time: a swap takes less than a millisecond of the processor's.
const LOOKS: u32 = 10;
/// Milliseconds between two of these looks.
const LOOK_MS: u64 = 20;

/// A succession under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Succession {
    successor: ServerId,
    of: ServerId,
    force: bool,
    /// When it is called off.
    deadline: Ticks,
    patience: Patience,
    /// Bytes of the state, when it has been exported.
    length: Option<usize>,
    /// Whether the successor has begun with it, and that was committed.
    imported: bool,
}

impl<M: Machine> State<M> {
    /// Begins a succession.
    pub(crate) fn succeed(
        &mut self,
        id: ServerId,
        of: ServerId,
        entry: u64,
        terms: Terms,
        config: &[u8],
    ) {
        self.machine.set_entry(id, entry);
        self.begin(id, config);
        let deadline = self
            .machine
            .now()
            .after(Ticks(self.machine.tsc_khz().wrapping_mul(LONGEST_MS)));
        let patience = Patience::of(if self.machine.counts_instructions() {
            0
        } else {
            LOOKS
        });
        let force = terms == Terms::Force;
        self.succession = Some(Succession {
            successor: id,
            of,
            force,
            deadline,
            patience,
            length: None,
            imported: false,
        });
        // One that went before is over.
        self.servers[ServerId::SUPERVISOR].mailbox.released = None;
        self.arm(deadline);
        match terms {
            Terms::Reset => self.exported(of, &[]),
            _ => self.post(of, |mailbox| mailbox.export(true)),
        }
    }

    /// Whether this server is to export its state, and has not.
    pub(crate) fn may_export(&self, id: ServerId) -> bool {
        self.succession
            .is_some_and(|succession| succession.of == id && succession.length.is_none())
    }

    /// Whether this succession is under way, and the successor has begun with the state.
    pub(crate) fn is_complete(&self, id: ServerId, of: ServerId) -> bool {
        self.succession
            .is_some_and(|it| it.successor == id && it.of == of && it.imported)
    }

    /// Whether this server is about to take another's place, and has not: until then it can do nothing to the machine.
    pub(crate) fn is_successor(&self, id: ServerId) -> bool {
        self.succession
            .is_some_and(|succession| succession.successor == id)
    }

    /// A server's first message was committed: if it is a successor, that was the state.
    pub(crate) fn imported(&mut self, by: ServerId) {
        if let Some(succession) = self
            .succession
            .as_mut()
            .filter(|succession| succession.successor == by)
        {
            succession.imported = true;
        }
    }

    /// A server's state is on its way: from here on all messages are its successor's.
    pub(crate) fn exported(&mut self, from: ServerId, bytes: &[u8]) {
        self.interchange
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let Some(succession) = &mut self.succession else {
            return;
        };
        succession.length = Some(bytes.len());
        let successor = succession.successor;
        self.servers[from].standing = Standing::Held;
        self.hold(from, Kind::Succession);
        self.post(successor, |mailbox| mailbox.first |= IMPORT);
    }

    /// Carries a succession out. The state in the vault is that of the last export: nothing was delivered since.
    pub(crate) fn exchange(&mut self, id: ServerId, of: ServerId) {
        self.succession = None;
        self.machine.exchange(id, of);
        self.new_owners.insert(of);
        if let Some((successor, role)) = self.servers.two_mut(id, of) {
            role.take_over(successor);
            (role.standing, successor.standing) = (Standing::Running, Standing::Made);
            role.fault = Reason::Exchanged;
        }
        // Nested tables are the old server's decisions.
        if self.servers[of].role == RoleKind::Mmu {
            let stale = self.machine.unmap_all();
            self.flush(stale);
        }
        self.begin_again(of);
    }

    /// Calls a succession off, if there is one and this server has a part in it: the other goes on itself.
    pub(crate) fn call_off(&mut self, id: ServerId) {
        let Some(Succession { of, successor, .. }) = self
            .succession
            .filter(|it| it.successor == id || it.of == id)
        else {
            return;
        };
        self.succession = None;
        // It is nobody's successor any more: it gets no message, and has not started.
        let server = &mut self.servers[successor];
        if server.is_running() {
            server.standing = Standing::Made;
            self.forsake(successor);
        }
        self.servers[ServerId::SUPERVISOR]
            .mailbox
            .forget_start(successor);
        let server = &mut self.servers[of];
        server.mailbox.export(false);
        if matches!(server.standing, Standing::Held | Standing::Running) {
            server.standing = Standing::Running;
            server.fault = Reason::Released;
            self.begin_again(of);
        }
    }

    /// When the succession is called off; one whose time is over is.
    pub(crate) fn succession_ends(&mut self, now: Ticks) -> Ticks {
        let every = Ticks(self.machine.tsc_khz().wrapping_mul(LOOK_MS));
        let Some(Succession {
            of,
            deadline,
            patience,
            ..
        }) = &mut self.succession
        else {
            return Ticks(u64::MAX);
        };
        if now < *deadline {
            return *deadline;
        }
        if !patience.look(*deadline, now, every) {
            return now.after(every);
        }
        let of = *of;
        self.call_off(of);
        self.post(ServerId::SUPERVISOR, |mailbox| mailbox.released = Some(of));
        Ticks(u64::MAX)
    }
}

impl<M: Machine> Kernel<M> {
    /// The first message to a successor.
    pub(crate) fn deliver_import(&mut self, to: ServerId) -> Step {
        let state = &self.state;
        let server = &state.servers[to];
        let Some(succession) = state.succession else {
            return Step::Committed;
        };
        let config = server.config.get(..server.config_length).unwrap_or(&[]);
        let bytes = state
            .interchange
            .get(..succession.length.unwrap_or(0))
            .unwrap_or(&[]);
        let header = state.header(to, TicketId(0), state.machine.now());
        let body = Body::Import(Fixed(state.facts(to)), config, bytes, succession.force);
        let length = encode(&mut self.pages, to, header, body);
        let cause = Cause(What::Import, u64::from(succession.of.number()));
        // Not the usual way, which does not know what a successor may do.
        self.activate_once(Due {
            to,
            ticket: TicketId(0),
            length,
            now: header.now,
            cause,
        })
    }
}

const _: () = assert!(
    INTERCHANGE_BYTES + Server::CONFIG + 512 <= atoll_protocol::PAGE,
    "an import fits its page"
);
