//! Whether a server goes on where another was as that one itself would have.
//!
//! Both live in a small world of timers, and are told the same at the same times. What each has the rest of the machine see must be equal,
//! answer by answer; how it arms its timers, and what it writes to the log, is its own business.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use atoll_protocol::effect::Effect;
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Body, Header, Held, Machine};
use atoll_protocol::role::{Role, RoleKind};
use atoll_protocol::units::{Ticks, TimerId};

use super::traffic::{Event, GUEST};
use super::{Answer, Harness};
use crate::server::Server;

/// A server and its timers.
pub struct World<S: Server> {
    /// The server.
    pub server: Harness<S>,
    timers: BTreeMap<TimerId, Ticks>,
    /// The vector that the vCPU has accepted, and the server has not been told of.
    accepted: u16,
    /// What is on offer to the vCPU.
    offer: Option<u8>,
}

impl<S: Server> World<S> {
    /// The world of a server that has just started.
    #[must_use]
    pub fn start(machine: &Machine, setup: &Setup<'_>) -> Self {
        let (mut server, first) = Harness::start(machine, setup);
        if S::Role::KIND == RoleKind::Mmu {
            server.guest = vec![0; GUEST];
        }
        let mut world = World {
            server,
            timers: BTreeMap::new(),
            accepted: Header::NOT_ACCEPTED,
            offer: None,
        };
        let _ = world.look(&first);
        world
    }

    /// The same world with another server in the place of this one; `None` if this one does not say how things stand.
    #[must_use]
    pub fn hand_over<T: Server>(
        &mut self,
        machine: &Machine,
        setup: &Setup<'_>,
        force: bool,
    ) -> Option<World<T>> {
        self.server.header.accepted = core::mem::replace(&mut self.accepted, Header::NOT_ACCEPTED);
        let state = self.server.export()?;
        let mut server = Harness::<T>::import(machine, setup, &state, force);
        server.header = self.server.header;
        server.guest = self.server.guest.clone();
        Some(World {
            server,
            timers: self.timers.clone(),
            accepted: Header::NOT_ACCEPTED,
            offer: self.offer,
        })
    }

    /// Tells the server that it goes on; what others see of that.
    pub fn go_on(&mut self) -> Vec<String> {
        self.say(Body::Restarted(Reason::Exchanged, Fixed(Held::default())))
    }

    /// Lets time pass, and timers expire; what others see of that, and when.
    pub fn pass(&mut self, span: Ticks) -> Vec<String> {
        let mut seen = Vec::new();
        let until = self.server.header.now.after(span);
        // A server that arms a timer for the past is served once for it at each moment.
        while let Some((timer, at)) = self
            .timers
            .iter()
            .map(|(timer, at)| (*timer, *at))
            .min_by_key(|(_, at)| *at)
            && at <= until
        {
            self.timers.remove(&timer);
            self.server.header.now = self.server.header.now.max(at);
            seen.extend(
                self.say(Body::Timer(timer))
                    .into_iter()
                    .map(|effect| format!("at {}: {effect}", at.0)),
            );
            if self
                .timers
                .get(&timer)
                .is_some_and(|again| *again <= self.server.header.now)
            {
                self.timers
                    .insert(timer, self.server.header.now.after(Ticks(1)));
            }
        }
        self.server.header.now = until;
        seen
    }

    /// Delivers a message; what others see of the answer.
    pub fn say(&mut self, body: Body<'_>) -> Vec<String> {
        self.server.header.accepted = core::mem::replace(&mut self.accepted, Header::NOT_ACCEPTED);
        let answer = self.server.deliver(body);
        self.look(&answer)
    }

    /// The vCPU accepts what is on offer, if anything is.
    pub fn accept(&mut self) {
        if let Some(vector) = self.offer.take() {
            self.accepted = u16::from(vector);
        }
    }

    fn look(&mut self, answer: &Answer) -> Vec<String> {
        let mut seen = Vec::new();
        for effect in answer.effects() {
            match effect {
                Effect::Arm(timer, at) => drop(self.timers.insert(timer, at.0)),
                Effect::Disarm(timer) => drop(self.timers.remove(&timer)),
                Effect::Log(_) => {}
                other => {
                    if let Effect::Offer(offer) = other {
                        let some = offer.0.kind != atoll_protocol::effect::Offer::NONE;
                        self.offer = some.then_some(offer.0.vector);
                    }
                    seen.push(format!("{other:?}"));
                }
            }
        }
        seen
    }
}

impl<S: Server> World<S> {
    /// Lets something happen; what others see of it.
    pub fn happen(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Pass(span) => return self.pass(*span),
            Event::Accept => self.accept(),
            _ => {}
        }
        let Some(body) = event.body() else {
            return Vec::new();
        };
        // No two activations begin at the same time.
        let mut seen = self.pass(Ticks(1));
        seen.extend(self.say(body));
        seen
    }
}

/// After `before`, a server `T` takes the place of a server `S`. What it then has others see in `after` is what `S` would have them see.
///
/// # Panics
/// It is not; the message tells the event.
pub fn goes_unnoticed<S: Server, T: Server>(setup: &Setup<'_>, before: &[Event], after: &[Event]) {
    // A counter's frequency that divides nothing, so that every moment that is rounded is.
    let machine = &Machine {
        tsc_khz: 2_894_571,
        ..super::MACHINE
    };
    let mut one = World::<S>::start(machine, setup);
    for event in before {
        let _ = one.happen(event);
    }
    let Some(mut other) = one.hand_over::<T>(machine, setup, false) else {
        panic!("nothing was exported")
    };
    assert_eq!(one.go_on(), other.go_on(), "on being told that it goes on");
    for (place, event) in after.iter().enumerate() {
        assert_eq!(
            one.happen(event),
            other.happen(event),
            "at event {place} of {}, {event:?}",
            after.len()
        );
    }
}
