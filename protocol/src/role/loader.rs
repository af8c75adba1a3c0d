//! The loader: places the guest's kernel, tables and command line, and gives the first vCPU its state. It runs once.

use zerocopy::IntoBytes;

use super::{Input, Never, Role, RoleKind};
use crate::effect::{Effect, GuestCopy};
use crate::fixed::Fixed;
use crate::message::{Body, Message, Stop};
use crate::units::Gpa;
use crate::vcpu::InitialState;

/// The role.
#[derive(Clone, Copy, Debug)]
pub struct Loader;

/// Place the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest;

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadReply {
    /// The guest is in place.
    Loaded,
    /// What fits one answer is in place: deliver `Load` again for the rest.
    More,
    /// It cannot be loaded; the reason has been logged.
    Refused,
}

/// What a loader may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoaderEffect<'a> {
    /// Write guest memory.
    GuestWrite(Gpa, &'a [u8]),
    /// Copy from the bundle to guest memory.
    GuestCopy(GuestCopy),
    /// Give a vCPU its state.
    Initial(u8, &'a InitialState),
}

impl<'a> From<LoaderEffect<'a>> for Effect<'a> {
    fn from(effect: LoaderEffect<'a>) -> Self {
        match effect {
            LoaderEffect::GuestWrite(gpa, bytes) => Effect::GuestWrite(Fixed(gpa), bytes),
            LoaderEffect::GuestCopy(copy) => Effect::GuestCopy(Fixed(copy)),
            LoaderEffect::Initial(vcpu, state) => Effect::Initial(vcpu, state.as_bytes()),
        }
    }
}

impl Role for Loader {
    const KIND: RoleKind = RoleKind::Loader;
    type Request<'m> = LoadRequest;
    type Event<'m> = Never;
    type Reply = LoadReply;
    type Effect<'a> = LoaderEffect<'a>;
    type State = crate::interchange::Immovable;

    fn input<'m>(message: &'m Message<'m>) -> Option<Input<LoadRequest, Never>> {
        matches!(message.body, Body::Load).then_some(Input::Request(LoadRequest))
    }

    fn reply(reply: LoadReply) -> Option<Effect<'static>> {
        Some(match reply {
            LoadReply::Loaded => Effect::Done,
            LoadReply::More => Effect::Resume,
            LoadReply::Refused => Effect::Stop(Stop::Refused),
        })
    }

    fn fallback(_: LoadRequest) -> LoadReply {
        LoadReply::Refused
    }
}
