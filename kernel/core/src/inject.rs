//! Fault injection (feature `fault-injection`): below the servers, which neither take part nor can tell.
//!
//! Every activation goes through [`Kernel::activate_injected`], which asks the plan ([`schedule`]) whether a fault is due and carries
//! it out ([`models`]): it runs the server, runs something else in its place, or changes the message or the answer. What must wait until
//! the answer is committed happens before the next activation. The kernel's own checks are not told: a fault is detected by the rule
//! that it breaks, or not at all. Every injection, detection and recovery is one line of the log ([`journal`]).
//!
//! A kernel without the feature has none of this.

mod journal;
mod models;
mod schedule;

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::fault::Reason;
use atoll_protocol::inject::{INJECTIONS, KINDS, Plan, kind_of};
use atoll_protocol::units::{LineId, ServerId, Ticks};

use crate::ids::PerServer;
use crate::machine::{Machine, Outcome, Pages};
use crate::run::HostEvent;
use crate::{Kernel, State};

pub use models::{Act, Area};

/// Bytes of an answer that are kept to be replayed: longer ones are not.
const KEPT: usize = MAIL_BYTES * 2;

/// What there is to know about one server.
#[derive(Clone, Copy)]
struct Subject {
    /// Messages delivered, by kind; one that is delivered again after a fault counts once.
    counts: [u32; KINDS],
    /// The kind of the present message.
    current: u8,
    /// It is being activated.
    active: bool,
    /// Kinds of messages that were faulted and have not been handled since, as bits: they will be delivered again, perhaps after others.
    retry: u64,
    /// It was faulted at this time, and has handled nothing since.
    faulted: Option<Ticks>,
    /// Its state was exported, and neither it nor its successor has been told to go on since.
    held: bool,
    /// The injection that its present activation is under.
    under: Option<u8>,
    /// When its last activation ended.
    ended: Ticks,
    /// How long its answer to that is.
    answered: usize,
    /// Its last answer.
    kept: [u8; KEPT],
    kept_length: usize,
}

impl Subject {
    /// Of a server that was sent nothing yet.
    const NEW: Subject = Subject {
        counts: [0; KINDS],
        current: 0,
        active: false,
        retry: 0,
        faulted: None,
        held: false,
        under: None,
        ended: Ticks(0),
        answered: 0,
        kept: [0; KEPT],
        kept_length: 0,
    };

    /// The present message's kind, as a bit.
    fn bit(&self) -> u64 {
        1 << (self.current % KINDS as u8)
    }

    /// Whether the present message is one that was faulted.
    fn is_redelivered(&self) -> bool {
        self.retry & self.bit() != 0
    }
}

/// What a fault leaves to be done after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    Nothing,
    Reorder(ServerId),
    Spurious(LineId),
}

/// The plan, and how far it has come.
pub struct Injector {
    plan: Plan,
    /// How often each injection's messages came.
    matches: [u64; INJECTIONS],
    /// How often each injection happened.
    fired: [u32; INJECTIONS],
    /// Random states.
    draws: [u64; INJECTIONS],
    subjects: PerServer<Subject>,
    sequel: Sequel,
    over: bool,
    paused: bool,
}

impl Injector {
    /// No plan.
    pub const IDLE: Injector = Injector {
        plan: Plan::NONE,
        matches: [0; INJECTIONS],
        fired: [0; INJECTIONS],
        draws: [0; INJECTIONS],
        subjects: PerServer([Subject::NEW; ServerId::COUNT]),
        sequel: Sequel::Nothing,
        over: false,
        paused: false,
    };

    /// How often the injection in this place of the plan has happened.
    #[must_use]
    pub fn fired(&self, place: usize) -> u32 {
        self.fired.get(place).copied().unwrap_or(0)
    }

    /// How many messages of this kind a server was sent.
    #[must_use]
    pub fn count(&self, server: ServerId, kind: u8) -> u32 {
        let counts = &self.subjects[server].counts;
        counts.get(usize::from(kind)).copied().unwrap_or(0)
    }
}

impl<M: Machine> Kernel<M> {
    /// One activation, with whatever fault is due.
    pub(crate) fn activate_injected(
        &mut self,
        to: ServerId,
        length: usize,
        deadline: Ticks,
    ) -> Outcome {
        let begun = self.state.machine.now();
        self.look_at_the_plan();
        // While the machine is stopped for a snapshot, time may leap: that is not the server's.
        let deadline = Ticks(
            deadline
                .0
                .saturating_add(self.state.machine.now().0.saturating_sub(begun.0)),
        );
        let message = self.pages.message(to).get(..length).unwrap_or(&[]);
        let Some(kind) = kind_of(message) else {
            return self
                .state
                .machine
                .activate(&mut self.pages, to, length, deadline);
        };
        let now = self.state.machine.now();
        let inject = &mut self.state.inject;
        let again = inject.arrived(to, kind);
        let due = inject.due(to, kind, message, again, self.state.statistics.exits, now);
        inject.subjects[to].under = due.map(|(place, _)| place);
        let outcome = match due {
            Some((place, injection)) => {
                inject.tell_injected(&mut self.state.machine, place, to, kind, now);
                self.state
                    .machine
                    .about_to_inject(&mut self.pages, to, length, &injection);
                self.carry_out_injection(to, length, deadline, place, &injection)
            }
            None => self
                .state
                .machine
                .activate(&mut self.pages, to, length, deadline),
        };
        if let Outcome::Answer(length) = outcome {
            self.keep(to, length as usize);
        }
        let ended = self.state.machine.now();
        let subject = &mut self.state.inject.subjects[to];
        subject.ended = ended;
        subject.answered = if let Outcome::Answer(length) = outcome {
            length as usize
        } else {
            0
        };
        outcome
    }

    /// What the last activation has left to be done, now that its answer was judged.
    fn settle_injected(&mut self) {
        let subjects = self.state.inject.subjects.iter();
        for (server, subject) in subjects.filter(|(_, subject)| subject.active) {
            let machine = &mut self.state.machine;
            machine.accepted(&self.pages, server, subject.answered);
        }
        let State {
            inject,
            machine,
            servers,
            ..
        } = &mut self.state;
        inject.handled(machine, |server| servers[server].fault == Reason::Exchanged);
        match core::mem::replace(&mut inject.sequel, Sequel::Nothing) {
            Sequel::Nothing => {}
            Sequel::Reorder(server) => {
                self.state.servers[server].mailbox.reorder();
            }
            Sequel::Spurious(line) => {
                let level = self.state.levels.contains(line);
                if let Some(irqchip) = self.state.routes.lines {
                    self.state
                        .post(irqchip, |mailbox| mailbox.line(line, level, true));
                }
            }
        }
    }

    /// Does what was left to do; takes notice of what the plan types; passes the point of the snapshot; takes over a new plan; gives the run up when
    /// its time has come.
    pub fn look_at_the_plan(&mut self) {
        self.settle_injected();
        if let Some(irq) = self.state.machine.key_arrived() {
            self.host_event(HostEvent::Irq(irq));
        }
        let state = &mut self.state;
        // The host leaves the next plan while the machine is stopped there, and it is about this very activation.
        let pause = state.inject.plan.pause;
        if pause != 0 && !state.inject.paused && state.machine.now().0 >= pause {
            state.inject.paused = true;
            state.machine.pause();
        }
        if let Some(plan) = state.machine.plan(state.inject.plan.sequence)
            && plan.magic == Plan::MAGIC
            && plan.version == atoll_protocol::VERSION
        {
            state.inject.take_over(plan);
            state.inject.tell_plan(&mut state.machine);
        }
        let until = state.inject.plan.until;
        if until != 0 && !state.inject.over && state.machine.now().0 >= until {
            state.inject.over = true;
            state.machine.log(format_args!("inject: overtime"));
            state.leave = state.leave.or(Some(Plan::OVERTIME));
        } else if until != 0 && !state.inject.over {
            // Also where nobody is activated any more.
            state.arm(Ticks(until));
        }
    }

    /// Keeps an answer, for the model that replays it.
    fn keep(&mut self, from: ServerId, length: usize) {
        if !self.state.inject.replays() {
            return;
        }
        let answer = self.pages.answer(from, length);
        let subject = &mut self.state.inject.subjects[from];
        subject.kept_length = 0;
        if let Some(place) = subject.kept.get_mut(..answer.len()) {
            place.copy_from_slice(answer);
            subject.kept_length = answer.len();
        }
    }
}
