//! A role says what the guest sees when no server answers; there is no default.

use atoll_sdk::protocol::effect::Effect;
use atoll_sdk::protocol::message::Message;
use atoll_sdk::protocol::role::{Input, Never, Role, RoleKind};

struct Careless;

impl Role for Careless {
    const KIND: RoleKind = RoleKind::Hypercall;
    type Request<'m> = u64;
    type Event<'m> = Never;
    type Reply = u64;
    type Effect<'a> = Never;
    type State = atoll_sdk::protocol::interchange::NoState;

    fn input<'m>(_: &'m Message<'m>) -> Option<Input<u64, Never>> {
        None
    }

    fn reply(_: u64) -> Option<Effect<'static>> {
        None
    }
}

fn main() {}
