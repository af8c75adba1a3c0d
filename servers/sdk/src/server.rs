//! The trait that every server implements.

use core::fmt;

use atoll_protocol::interchange::Interchange;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, Machine};
use atoll_protocol::role::Role;

use crate::effects::Effects;
use crate::vault::{Vault, Vaulted};

/// An implementation of a role.
///
/// Neither `handle` nor `event` can fail: what the guest may see is a reply, and an internal failure is a panic, so that blame is never
/// in doubt. A panic discards the activation.
pub trait Server: Sized + 'static {
    /// The role that it implements.
    type Role: Role;
    /// What must survive a crash: plain data, committed line by line with each answer.
    type State: Vaulted;
    /// What may be lost at any time and must never change an answer.
    type Cache: Default;

    /// The version of the role's state that it writes, and the newest that it reads. An older server's is not the newest that there is.
    const STATE_VERSION: u16 = <<Self::Role as Role>::State as Interchange>::VERSION;

    /// The state to begin with.
    ///
    /// # Errors
    /// The configuration is not one that this server can run with.
    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<Self::State, Refuse>;

    /// Effects that go with the start, such as programming a host device. Committed together with the first state.
    fn started(_vault: &mut Vault<'_, Self>, _effects: &mut Effects<'_, Self::Role>) {}

    /// What another server of the role must know to go on; `None`: not now.
    fn export(state: &Self::State) -> Option<<Self::Role as Role>::State>;

    /// The state with which to go on where another server of the role was. With `force` also if that takes something away from the guest.
    ///
    /// It has not taken the other's place yet. When it has, [`Server::restarted`] is called, and that is where it arms its timers: those of
    /// the server before it may be armed still, or may have expired, and mean nothing to it.
    ///
    /// # Errors
    /// This server cannot go on there.
    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        state: <Self::Role as Role>::State,
        force: bool,
    ) -> Result<Self::State, Refuse>;

    /// Answers the few requests that come often, in a straight line. `None` leaves the request to [`Server::handle`], which answers all
    /// of them: then nothing may have been changed or emitted.
    ///
    /// What is called from here with `vault` or `effects` has to be `#[inline(always)]`: a reference that leaves the frame puts both into
    /// memory, and that costs more than most answers.
    #[inline(always)]
    fn quick(
        _vault: &mut Vault<'_, Self>,
        _request: <Self::Role as Role>::Request<'_>,
        _effects: &mut Effects<'_, Self::Role>,
    ) -> Option<<Self::Role as Role>::Reply> {
        None
    }

    /// The same for an acceptance that comes alone; whether it is all taken notice of.
    #[inline(always)]
    fn quick_event(
        _vault: &mut Vault<'_, Self>,
        _event: <Self::Role as Role>::Event<'_>,
        _effects: &mut Effects<'_, Self::Role>,
    ) -> bool {
        false
    }

    /// The server was restarted, or has taken the place of another: the vault holds what was committed last, the cache is fresh, and nothing
    /// of what was being handled has happened. What was not handled is delivered again after this, so a server without timers has nothing
    /// to do here. One with timers arms those that it needs; a driver may look whether its device still is as it should be. The tickets are those of requests that the server has put off and still has to answer.
    fn restarted(
        _vault: &mut Vault<'_, Self>,
        _held: &Held,
        _effects: &mut Effects<'_, Self::Role>,
    ) {
    }

    /// Answers a request.
    fn handle(
        vault: &mut Vault<'_, Self>,
        request: <Self::Role as Role>::Request<'_>,
        effects: &mut Effects<'_, Self::Role>,
    ) -> <Self::Role as Role>::Reply;

    /// Takes notice of an event.
    fn event(
        _vault: &mut Vault<'_, Self>,
        _event: <Self::Role as Role>::Event<'_>,
        _effects: &mut Effects<'_, Self::Role>,
    ) {
    }
}

/// The part of [`Server`] about succession, for a server whose state does not move.
#[macro_export]
macro_rules! immovable {
    () => {
        const STATE_VERSION: u16 = 0;

        fn export(_: &Self::State) -> Option<<Self::Role as $crate::protocol::role::Role>::State> {
            None
        }

        fn import(
            _: &$crate::protocol::message::Machine,
            _: &$crate::protocol::manifest::Setup<'_>,
            _: <Self::Role as $crate::protocol::role::Role>::State,
            _: bool,
        ) -> Result<Self::State, $crate::Refuse> {
            Err($crate::Refuse::Immovable)
        }
    };
}

/// For a server that neither knows what the guest has been shown nor tells another: it takes another's place only by force, and begins anew.
#[macro_export]
macro_rules! forgetful {
    () => {
        fn export(_: &Self::State) -> Option<<Self::Role as $crate::protocol::role::Role>::State> {
            Some(Default::default())
        }

        fn import(
            machine: &$crate::protocol::message::Machine,
            setup: &$crate::protocol::manifest::Setup<'_>,
            _: <Self::Role as $crate::protocol::role::Role>::State,
            force: bool,
        ) -> Result<Self::State, $crate::Refuse> {
            if force {
                Self::start(machine, setup)
            } else {
                Err($crate::Refuse::TakesAway("all that it has been shown"))
            }
        }
    };
}

/// Why a server cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// The manifest gives it fewer interrupt lines than it raises.
    MissingLine,
    /// The manifest does not let it mail this server.
    MissingPeer(&'static str),
    /// An option is missing or has no such value.
    BadOption(&'static str),
    /// The machine is not one that it can serve: what it would need, as in "a single vCPU".
    Machine(&'static str),
    /// The state of the server before is of a version that this one does not read.
    Version(u16),
    /// The guest relies on something that this server does not have.
    TakesAway(&'static str),
    /// A state that does not move.
    Immovable,
    /// The state to go on with is none that a server of the role can be in.
    BadState,
}

impl fmt::Display for Refuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refuse::MissingLine => {
                f.write_str("the manifest's `raises` names too few interrupt lines")
            }
            Refuse::MissingPeer(name) => write!(f, "the manifest's `mail` does not name `{name}`"),
            Refuse::BadOption(name) => {
                write!(
                    f,
                    "the option `{name}` is missing or its value is not valid"
                )
            }
            Refuse::Machine(what) => write!(f, "this server needs {what}"),
            Refuse::Version(version) => {
                write!(
                    f,
                    "it cannot read version {version} of the state that it was given"
                )
            }
            Refuse::TakesAway(what) => write!(f, "the guest relies on {what}"),
            Refuse::Immovable => f.write_str("the state of this server cannot be handed over"),
            Refuse::BadState => {
                f.write_str("the state that it was given is not one that its role can be in")
            }
        }
    }
}
