//! Servers on the developer's machine: every message is handled three times, with the cache as the messages before have left it, with a
//! fresh one, and without [`Server::quick`]; the answers must be equal, and so must the states that are left.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use atoll_protocol::PAGE;
use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, Header, Machine, Message};
use atoll_protocol::units::{ServerId, TicketId, Ticks};
use zerocopy::{FromBytes, IntoBytes};

use crate::activation::{activate, quick};
use crate::effects::Surroundings;
use crate::guest::GuestMemory;
use crate::server::Server;

mod succession;
pub mod traffic;

pub use succession::{World, goes_unnoticed};

/// One server under test.
pub struct Harness<S: Server> {
    /// Committed state, as the kernel would keep it.
    vault: Vec<u64>,
    cache: S::Cache,
    /// The next message's header. Set `now` to let time pass; `accepted` is reset after each message.
    pub header: Header,
    /// Guest memory, for servers that read it.
    pub guest: Vec<u8>,
    /// The bundle, for servers that read it.
    pub bundle: Vec<u8>,
}

/// One answer.
pub struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// All effects but `Save`, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect<'_>> {
        let mut effects = Vec::new();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let (effect, after) =
                postcard::take_from_bytes(rest).expect("an answer that does not decode");
            if !matches!(effect, Effect::Save(..)) {
                effects.push(effect);
            }
            rest = after;
        }
        effects
    }

    /// The value of a `Value` effect.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn value(&self) -> u64 {
        let found = self.effects().iter().find_map(|effect| {
            if let Effect::Value(value) = effect {
                Some(value.0)
            } else {
                None
            }
        });
        found.unwrap_or_else(|| panic!("no value in {:?}", self.effects()))
    }
}

/// The machine that tests run on: a 1 GHz counter, 64 MiB, one CPU, 2020-01-01.
pub const MACHINE: Machine = Machine {
    schema: atoll_protocol::SCHEMA_HASH,
    tsc_khz: 1_000_000,
    memory: 64 << 20,
    bundle: 0,
    wall_seconds: 1_577_836_800,
    frames: 1 << 20,
    vcpus: 1,
    physical_bits: 40,
    features: [u32::MAX; 8],
};

/// The servers that a set-up lets a server write to: names and numbers, for [`Setup::peers`].
///
/// # Panics
/// Never: such a list always encodes.
#[must_use]
pub fn peers(list: &[(&str, ServerId)]) -> Vec<u8> {
    list.iter().fold(Vec::new(), |bytes, peer| {
        postcard::to_extend(peer, bytes).expect("a peer encodes")
    })
}

impl<S: Server> Harness<S> {
    /// Starts a server and returns it with its first answer.
    ///
    /// # Panics
    /// It refuses.
    pub fn start(machine: &Machine, setup: &Setup<'_>) -> (Self, Answer) {
        Self::start_with(machine, setup, Vec::new())
    }

    /// Like [`Harness::start`], for a server that reads the bundle at its start.
    ///
    /// # Panics
    /// It refuses.
    pub fn start_with(machine: &Machine, setup: &Setup<'_>, bundle: Vec<u8>) -> (Self, Answer) {
        let header = Header {
            accepted: Header::NOT_ACCEPTED,
            ..Header::default()
        };
        let words = size_of::<S::State>().div_ceil(64) * 8;
        let mut harness = Harness {
            vault: vec![0; words],
            cache: S::Cache::default(),
            header,
            guest: Vec::new(),
            bundle,
        };
        let config = postcard::to_extend(setup, Vec::new()).expect("a setup encodes");
        let answer = harness.deliver(Body::Start(Fixed(*machine), &config));
        (harness, answer)
    }

    /// A server that goes on where another of the role was, by what that one exported; `None` if it does not go on there.
    ///
    /// # Panics
    /// It refuses: as in the machine, where the panic ends its first activation.
    pub fn import(machine: &Machine, setup: &Setup<'_>, state: &[u8], force: bool) -> Self {
        let header = Header {
            accepted: Header::NOT_ACCEPTED,
            ..Header::default()
        };
        let words = size_of::<S::State>().div_ceil(64) * 8;
        let (guest, bundle) = (Vec::new(), Vec::new());
        let mut harness = Harness {
            vault: vec![0; words],
            cache: S::Cache::default(),
            header,
            guest,
            bundle,
        };
        let config = postcard::to_extend(setup, Vec::new()).expect("a setup encodes");
        harness.deliver(Body::Import(Fixed(*machine), &config, state, force));
        harness
    }

    /// What it exports; `None` if it does not.
    pub fn export(&mut self) -> Option<Vec<u8>> {
        let answer = self.deliver(Body::Export);
        let effects = answer.effects();
        effects.iter().find_map(|effect| {
            if let Effect::Exported(bytes) = effect {
                Some(bytes.to_vec())
            } else {
                None
            }
        })
    }

    /// The committed state.
    ///
    /// # Panics
    /// Never: the vault is as large as the state.
    #[must_use]
    pub fn state(&self) -> &S::State {
        let bytes = &self.vault.as_bytes()[..size_of::<S::State>()];
        S::State::ref_from_bytes(bytes)
            .unwrap_or_else(|_| panic!("the vault does not hold the state"))
    }

    /// Lets time pass.
    pub fn advance(&mut self, span: Ticks) {
        self.header.now = self.header.now.after(span);
    }

    /// Delivers a message that nothing waits for, or that the vCPU waits for: the ticket is a fixed one.
    pub fn deliver(&mut self, body: Body<'_>) -> Answer {
        self.header.ticket = TicketId(0x100);
        let mut page = [0; PAGE];
        let message = Message {
            header: Fixed(self.header),
            body,
        };
        let message = postcard::to_slice(&message, &mut page)
            .expect("a message fits its page")
            .to_vec();
        self.header.accepted = Header::NOT_ACCEPTED;

        let mut fresh_vault = self.vault.clone();
        let fresh = run::<S>(
            &message,
            &mut fresh_vault,
            &mut S::Cache::default(),
            &self.guest,
            &self.bundle,
        );
        let mut warm_vault = self.vault.clone();
        let warm = run::<S>(
            &message,
            &mut warm_vault,
            &mut self.cache,
            &self.guest,
            &self.bundle,
        );
        assert!(
            fresh == warm,
            "the cache changed the answer: {}",
            difference(&fresh, &warm)
        );
        assert!(fresh_vault == warm_vault, "the cache changed the state");
        let mut full_vault = self.vault.clone();
        let full = run_fully::<S>(
            &message,
            &mut full_vault,
            &mut S::Cache::default(),
            &self.guest,
            &self.bundle,
        );
        let equal = Answer {
            bytes: full.clone(),
        }
        .effects()
            == Answer {
                bytes: fresh.clone(),
            }
            .effects();
        assert!(equal, "not the same in full: {}", difference(&full, &fresh));
        assert!(
            full_vault == fresh_vault,
            "the quick way leaves another state"
        );

        // Only the lines that the answer names are committed, as in the kernel.
        let mut rest = &warm[..];
        while !rest.is_empty() {
            let (effect, after) = postcard::take_from_bytes::<Effect<'_>>(rest)
                .expect("an answer that does not decode");
            if let Effect::Save(first, count) = effect {
                let lines = usize::from(first) * 8..usize::from(first + count) * 8;
                self.vault[lines.clone()].copy_from_slice(&warm_vault[lines]);
            }
            rest = after;
        }
        let size = size_of::<S::State>();
        assert!(
            self.vault.as_bytes()[..size] == warm_vault.as_bytes()[..size],
            "the state was changed outside the lines that the answer names"
        );
        Answer { bytes: warm }
    }
}

fn run<S: Server>(
    message: &[u8],
    vault: &mut [u64],
    cache: &mut S::Cache,
    guest: &[u8],
    bundle: &[u8],
) -> Vec<u8> {
    let mut answer = [0; PAGE];
    let around = Surroundings {
        guest: GuestMemory::slice(guest),
        bundle,
    };
    let mut page = [0; PAGE];
    page[..message.len()].copy_from_slice(message);
    let mut used = None;
    quick::<S>(
        &page,
        &mut answer,
        vault.as_mut_bytes(),
        cache,
        around,
        |length| used = Some(length),
    );
    match used {
        Some(used) => answer[..used].to_vec(),
        None => run_fully::<S>(message, vault, cache, guest, bundle),
    }
}

fn run_fully<S: Server>(
    message: &[u8],
    vault: &mut [u64],
    cache: &mut S::Cache,
    guest: &[u8],
    bundle: &[u8],
) -> Vec<u8> {
    let mut answer = [0; PAGE];
    let around = Surroundings {
        guest: GuestMemory::slice(guest),
        bundle,
    };
    let used = activate::<S>(message, &mut answer, vault.as_mut_bytes(), cache, around);
    answer[..used].to_vec()
}

fn difference(one: &[u8], other: &[u8]) -> String {
    let answer = |bytes: &[u8]| {
        format!(
            "{:?}",
            Answer {
                bytes: bytes.to_vec()
            }
            .effects()
        )
    };
    format!("{} but {}", answer(one), answer(other))
}
