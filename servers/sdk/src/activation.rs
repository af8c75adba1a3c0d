//! One message in, one answer out: what the entry point in ring 3 and the harness on the host both call.

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::interchange::{self, Interchange};
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, Header, Message, PortExit};
use atoll_protocol::role::{Input, Role, RoleKind};
use atoll_protocol::wire::{self, Receive};
use atoll_protocol::{INTERCHANGE_BYTES, PAGE, SCHEMA_HASH, STRING_BYTES};
use zerocopy::{FromBytes, IntoBytes};

use crate::effects::{Effects, Surroundings};
use crate::server::{Refuse, Server};
use crate::vault::Vault;

/// Runs one activation of `S`; returns the answer's length.
///
/// # Panics
/// The server fails, or the kernel sent what this server's role cannot get: the activation is discarded.
#[inline(always)]
pub fn activate<S: Server>(
    message: &[u8],
    answer: &mut [u8],
    vault: &mut [u8],
    cache: &mut S::Cache,
    around: Surroundings<'_>,
) -> usize {
    match wire::receive(
        message,
        Serve::<S> {
            answer,
            vault,
            cache,
            around,
        },
    ) {
        Ok(used) => used,
        Err(serve) => serve_any(message, serve),
    }
}

/// Runs one activation of `S` if [`Server::quick`] answers it, and calls `done` with the answer's length; else nothing has happened.
///
/// Everything here is inlined into one frame, and nothing is passed on out of line: so the message, the vault's record and the answer
/// under construction are never in memory as such. `done` is called in one place for each kind of message, so that what ends an
/// activation does so right there.
#[inline(always)]
pub fn quick<S: Server>(
    page: &[u8; PAGE],
    answer: &mut [u8],
    vault: &mut [u8],
    cache: &mut S::Cache,
    around: Surroundings<'_>,
    done: impl FnOnce(usize),
) {
    wire::receive_page(
        page,
        Quick {
            serve: Serve::<S> {
                answer,
                vault,
                cache,
                around,
            },
            done,
        },
    );
}

/// The first, short attempt.
struct Quick<'e, S: Server, D> {
    serve: Serve<'e, S>,
    done: D,
}

impl<S: Server, D: FnOnce(usize)> Receive for Quick<'_, S, D> {
    type Output = ();

    #[inline(always)]
    fn receive(self, message: &Message<'_>) {
        let Serve {
            answer,
            vault,
            cache,
            around,
        } = self.serve;
        let header = &message.header.0;
        let mut effects = Effects::<S::Role>::new(*header, answer, around);
        let Ok((state, _)) = S::State::mut_from_prefix(vault) else {
            return;
        };
        let mut vault = Vault::<S>::new(state, cache);
        if matches!(S::Role::KIND, RoleKind::Irqchip) && header.accepted != Header::NOT_ACCEPTED {
            let Some(event) = S::Role::accepted(header.accepted as u8) else {
                return;
            };
            if !matches!(message.body, Body::Accepted)
                || !S::quick_event(&mut vault, event, &mut effects)
            {
                return;
            }
        } else {
            let Some(Input::Request(request)) = S::Role::input(message) else {
                return;
            };
            let Some(reply) = S::quick(&mut vault, request, &mut effects) else {
                debug_assert!(
                    effects.used() == 0 && vault.dirty_range().is_none(),
                    "left to `handle`, but half done"
                );
                return;
            };
            if let Some(effect) = S::Role::reply(reply) {
                effects.put(&effect);
            }
        }
        if let Some((first, count)) = vault.dirty_range() {
            effects.put(&Effect::Save(first, count));
        }
        (self.done)(effects.used());
    }
}

/// What an activation works on, beside its message.
struct Serve<'e, S: Server> {
    answer: &'e mut [u8],
    vault: &'e mut [u8],
    cache: &'e mut S::Cache,
    around: Surroundings<'e>,
}

/// What is not hot: another copy of `receive`, so that decoding it costs the usual way nothing.
#[cold]
#[inline(never)]
fn serve_any<S: Server>(message: &[u8], serve: Serve<'_, S>) -> usize {
    let Ok(message) = Message::read(message) else {
        panic!("a message that does not decode")
    };
    let first = match &message.body {
        Body::Start(machine, config) => Some((&machine.0, *config, None)),
        Body::Import(machine, config, state, force) => {
            Some((&machine.0, *config, Some((*state, *force))))
        }
        _ => None,
    };
    if let Some((machine, config, before)) = first {
        let Serve {
            answer,
            vault,
            cache,
            around,
        } = serve;
        let mut effects = Effects::<S::Role>::new(message.header.0, answer, around);
        first_activation::<S>(machine, config, before, vault, cache, &mut effects);
        return effects.used();
    }
    serve.receive(&message)
}

impl<S: Server> Receive for Serve<'_, S> {
    type Output = usize;

    #[inline(always)]
    fn receive(self, message: &Message<'_>) -> usize {
        let header = &message.header.0;
        let mut effects = Effects::<S::Role>::new(*header, self.answer, self.around);
        let Ok((state, _)) = S::State::mut_from_prefix(self.vault) else {
            panic!("a vault smaller than the state")
        };
        let mut vault = Vault::<S>::new(state, self.cache);
        if header.accepted != Header::NOT_ACCEPTED
            && let Some(event) = S::Role::accepted(header.accepted as u8)
        {
            S::event(&mut vault, event, &mut effects);
        }
        match S::Role::input(message) {
            Some(Input::Request(request)) => {
                let reply = S::handle(&mut vault, request, &mut effects);
                if let Some(effect) = S::Role::reply(reply) {
                    effects.put(&effect);
                }
            }
            Some(Input::Event(event)) => S::event(&mut vault, event, &mut effects),
            None => other::<S>(message, &mut vault, &mut effects),
        }
        save(&vault, &mut effects);
        effects.used()
    }
}

#[inline(always)]
fn save<S: Server>(vault: &Vault<'_, S>, effects: &mut Effects<'_, S::Role>) {
    vault.dirty(|first, count| effects.put(&Effect::Save(first, count)));
}

/// The first activation: make the state and commit all of it.
#[cold]
#[inline(never)]
fn first_activation<S: Server>(
    machine: &atoll_protocol::message::Machine,
    config: &[u8],
    before: Option<(&[u8], bool)>,
    vault: &mut [u8],
    cache: &mut S::Cache,
    effects: &mut Effects<'_, S::Role>,
) {
    if machine.schema != SCHEMA_HASH {
        panic!(
            "the kernel is of schema {:016x}, this server of {SCHEMA_HASH:016x}",
            machine.schema
        );
    }
    let setup = if config.is_empty() {
        Ok(Setup::default())
    } else {
        postcard::from_bytes::<Setup<'_>>(config)
    };
    let Ok(setup) = setup else {
        panic!("a configuration that does not decode")
    };
    let state = match before {
        None => S::start(machine, &setup),
        Some((bytes, force)) => import::<S>(machine, &setup, bytes, force),
    };
    let state = match state {
        Ok(state) => state,
        Err(refuse) => panic!("cannot start: {refuse}"),
    };
    let bytes = state.as_bytes();
    let Some(place) = vault.get_mut(..bytes.len()) else {
        panic!("a state of {} bytes in a smaller vault", bytes.len())
    };
    place.copy_from_slice(bytes);
    drop(state);
    let Ok((state, _)) = S::State::mut_from_prefix(vault) else {
        panic!("a vault that is not aligned")
    };
    let mut vault = Vault::<S>::new(state, cache);
    vault.all();
    // A successor has not taken its place yet: it is told when it has.
    if before.is_none() {
        S::started(&mut vault, effects);
    }
    save(&vault, effects);
}

fn import<S: Server>(
    machine: &atoll_protocol::message::Machine,
    setup: &Setup<'_>,
    bytes: &[u8],
    force: bool,
) -> Result<S::State, Refuse> {
    // Nothing is known of the one before: it could not say.
    if bytes.is_empty() {
        return S::start(machine, setup);
    }
    let (version, rest) = interchange::split(bytes).ok_or(Refuse::Immovable)?;
    let state = if version <= S::STATE_VERSION {
        <S::Role as Role>::State::read(version, rest)
    } else {
        None
    };
    let state = state.ok_or(Refuse::Version(version))?;
    S::import(machine, setup, state, force)
}

/// Says what a successor must know. Without an answer to that the succession is called off.
fn export<S: Server>(state: &S::State, effects: &mut Effects<'_, S::Role>) {
    let mut page = [0; INTERCHANGE_BYTES];
    if let Some(length) =
        S::export(state).and_then(|state| state.write(S::STATE_VERSION, &mut page))
    {
        effects.put(&Effect::Exported(page.get(..length).unwrap_or(&[])));
    }
}

/// What is not for the role: the message that says that the server was restarted, or a string access; and what anybody can send who may
/// write to the server. That must not be its fault: a letter is passed over, and a request gets an answer that says nothing.
#[cold]
#[inline(never)]
fn other<S: Server>(
    message: &Message<'_>,
    vault: &mut Vault<'_, S>,
    effects: &mut Effects<'_, S::Role>,
) {
    match &message.body {
        Body::Restarted(_, held) => S::restarted(vault, &held.0, effects),
        Body::Export => export::<S>(vault, effects),
        Body::Mail(..) => {}
        Body::Request(..) => effects.put(&Effect::Reply(message.header.0.ticket, &[])),
        _ => string(message, vault, effects),
    }
}

/// A chunk of INS or OUTS, taken apart into single accesses so that no device has to know about strings.
fn string<S: Server>(
    message: &Message<'_>,
    vault: &mut Vault<'_, S>,
    effects: &mut Effects<'_, S::Role>,
) {
    let (exit, written) = match &message.body {
        Body::PortReadString(exit) => (exit.0, None),
        Body::PortWriteString(exit, bytes) => (exit.0, Some(*bytes)),
        _ => panic!("a message that is not for this role"),
    };
    let size = usize::from(exit.size);
    let mut data = [0; STRING_BYTES];
    for index in 0..exit.count as usize {
        let place = index * size..(index + 1) * size;
        let value = written
            .and_then(|bytes| bytes.get(place.clone()))
            .map(|bytes| {
                let mut value = [0; 4];
                value
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(to, from)| *to = *from);
                u32::from_le_bytes(value)
            });
        let single = PortExit {
            value: value.unwrap_or(0),
            count: 1,
            ..exit
        };
        let body = if written.is_some() {
            Body::PortWrite(Fixed(single))
        } else {
            Body::PortRead(Fixed(single))
        };
        let single = Message {
            header: message.header,
            body,
        };
        let Some(Input::Request(request)) = S::Role::input(&single) else {
            panic!("a port access to a role without ports")
        };
        let reply = S::Role::reply(S::handle(vault, request, effects));
        if let (None, Some(Effect::Value(value)), Some(bytes)) =
            (written, reply, data.get_mut(place))
        {
            bytes
                .iter_mut()
                .zip(value.0.to_le_bytes())
                .for_each(|(to, from)| *to = from);
        }
    }
    match written {
        Some(_) => effects.put(&Effect::Done),
        None => effects.put(&Effect::Data(
            data.get(..exit.count as usize * size).unwrap_or(&[]),
        )),
    }
}
