//! The models: what each of them does to one activation.
//!
//! Where a server is to fail by itself, it does: its core executes other code in the server's own address space ([`Act`]), so that the
//! processor and the watchdog find out as they would of a real failure. Where a message or an answer is to be damaged, its page is.

use atoll_protocol::effect::{Effect, Mapping};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::inject::{Injection, Model, Place, Surplus};
use atoll_protocol::order::Order;
use atoll_protocol::units::{Gpa, LineId, ServerId, Ticks, TimerId};
use atoll_protocol::{EFFECTS, MAIL_BYTES, PAGE, wire};

use super::schedule::draw;
use super::{Injector, Sequel};
use crate::machine::{Machine, Outcome, Pages};
use crate::mailbox::{Kind, Letter};
use crate::ticket::Operation;
use crate::{Kernel, State};

/// What a server does before, or instead of, its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Executes an undefined instruction.
    Crash,
    /// Spins.
    Hang,
    /// Spins for so many ticks, and goes on with its own work.
    Delay(Ticks),
    /// Writes where it may not.
    Write(Place),
}

/// A part of a server's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Its program.
    Text,
    /// Its static data.
    Data,
    /// Its stack.
    Stack,
    /// Its vault, both copies.
    Vault,
}

/// A port that is granted to nobody: the reset control register of PC chipsets.
const RESET_PORT: u16 = 0xcf9;
const SUPERVISOR: ServerId = ServerId::SUPERVISOR;
/// What does not decode as an effect: a tag that never ends.
const NONSENSE: [u8; 12] = [0xff; 12];

impl<M: Machine> Kernel<M> {
    /// Runs the activation under a fault.
    pub(super) fn carry_out_injection(
        &mut self,
        to: ServerId,
        length: usize,
        deadline: Ticks,
        place: u8,
        injection: &Injection,
    ) -> Outcome {
        let Some(model) = Model::with_number(u64::from(injection.model)) else {
            return self.plainly(to, length, deadline);
        };
        let argument = self.state.inject.argument(place, injection);
        match model {
            Model::Crash => self.sabotage(to, length, deadline, Act::Crash),
            Model::Hang => self.sabotage(to, length, deadline, Act::Hang),
            Model::Slow => self.sabotage(to, length, deadline, Act::Delay(Ticks(argument))),
            Model::WildWrite => {
                let place = Place::with_number(argument).unwrap_or(Place::Kernel);
                self.sabotage(to, length, deadline, Act::Write(place))
            }
            Model::CrashLate => match self.plainly(to, length, deadline) {
                Outcome::Answer(_) => Outcome::Fault(Reason::Exception {
                    vector: 6,
                    error: 0,
                    address: 0,
                }),
                fault => fault,
            },
            Model::DropAnswer => match self.plainly(to, length, deadline) {
                Outcome::Answer(_) => self.sabotage(to, length, deadline, Act::Hang),
                fault => fault,
            },
            Model::Lose => Outcome::Answer(0),
            // Two answers to one message: the first is late, since the second is what the kernel waits for. What is late is dropped, and
            // with it what the server did to its state.
            Model::Duplicate => match self.plainly(to, length, deadline) {
                Outcome::Answer(_) => {
                    self.state.machine.restore_vault(to);
                    self.plainly(to, length, deadline)
                }
                fault => fault,
            },
            Model::Reorder => self.then(Sequel::Reorder(to), to, length, deadline),
            Model::Spurious => match LineId::new(argument as u8) {
                Some(line) => self.then(Sequel::Spurious(line), to, length, deadline),
                None => self.plainly(to, length, deadline),
            },
            Model::Kill => {
                let outcome = self.plainly(to, length, deadline);
                let Some(victim) = ServerId::new(argument as u8) else {
                    return outcome;
                };
                if victim == to {
                    return Outcome::Fault(Reason::Killed);
                }
                self.state.inject.subjects[victim].under = Some(place);
                self.state.fault(victim, Reason::Killed, 0, &[]);
                outcome
            }
            Model::Swap => {
                self.order_swap(to, argument as usize);
                self.plainly(to, length, deadline)
            }
            Model::FlipText => self.flip(Area::Text, argument, to, length, deadline),
            Model::FlipData => self.flip(Area::Data, argument, to, length, deadline),
            Model::FlipStack => self.flip(Area::Stack, argument, to, length, deadline),
            Model::FlipVault => self.flip(Area::Vault, argument, to, length, deadline),
            Model::FlipMessage => {
                flip_bit(
                    self.pages.message(to).get_mut(..length).unwrap_or(&mut []),
                    argument,
                );
                self.plainly(to, length, deadline)
            }
            Model::ClockSkew => {
                // The time is the header's first field, behind the header's length.
                let now = self.pages.message(to).get_mut(1..1 + size_of::<u64>());
                if let Some(now) = now.and_then(|bytes| <&mut [u8; 8]>::try_from(bytes).ok()) {
                    *now = u64::from_le_bytes(*now)
                        .wrapping_add(argument)
                        .to_le_bytes();
                }
                self.plainly(to, length, deadline)
            }
            Model::Stale
            | Model::FlipAnswer
            | Model::Malformed
            | Model::WrongValue
            | Model::Exhaust
            | Model::Ungranted => match self.plainly(to, length, deadline) {
                Outcome::Answer(length) if length <= PAGE as u64 => {
                    self.damage(model, argument, to, length as usize)
                }
                other => other,
            },
        }
    }

    fn plainly(&mut self, to: ServerId, length: usize, deadline: Ticks) -> Outcome {
        self.state
            .machine
            .activate(&mut self.pages, to, length, deadline)
    }

    fn sabotage(&mut self, to: ServerId, length: usize, deadline: Ticks, act: Act) -> Outcome {
        self.state
            .machine
            .sabotage(&mut self.pages, to, length, deadline, act)
    }

    fn then(&mut self, sequel: Sequel, to: ServerId, length: usize, deadline: Ticks) -> Outcome {
        self.state.inject.sequel = sequel;
        self.plainly(to, length, deadline)
    }

    /// Orders, as the control server would, that an image is put into a server's place. Nobody is told what came of it.
    fn order_swap(&mut self, of: ServerId, name: usize) {
        let State {
            tickets, inject, ..
        } = &mut self.state;
        let image = core::str::from_utf8(inject.plan.string(name)).unwrap_or("");
        let mut page = [0; MAIL_BYTES];
        let bytes = postcard::to_slice(&Order::Swap(of, false, Some(image)), &mut page)
            .map_or(&[][..], |bytes| bytes);
        let Some(slot) = tickets.free_slot() else {
            return;
        };
        let ticket = tickets.open(slot, Operation::Mail, SUPERVISOR, 0);
        if let Some(open) = tickets.get_mut(ticket) {
            open.asker = None;
        }
        let letter = Letter::new(Kind::Request(ticket), SUPERVISOR, bytes);
        self.state.post(SUPERVISOR, |mailbox| mailbox.put(&letter));
    }

    fn flip(
        &mut self,
        area: Area,
        bit: u64,
        to: ServerId,
        length: usize,
        deadline: Ticks,
    ) -> Outcome {
        self.state.machine.flip(to, area, bit);
        self.plainly(to, length, deadline)
    }

    /// Damages an answer in its page.
    fn damage(&mut self, model: Model, argument: u64, from: ServerId, length: usize) -> Outcome {
        let Kernel { state, pages } = self;
        let page = pages.answer_mut(from);
        let mut copy = [0; PAGE];
        let length = match model {
            Model::FlipAnswer => {
                flip_bit(page.get_mut(..length).unwrap_or(&mut []), argument);
                length
            }
            Model::Malformed => put(page, 0, &NONSENSE),
            Model::Stale => {
                let subject = &state.inject.subjects[from];
                let kept = subject.kept.get(..subject.kept_length);
                put(page, 0, kept.unwrap_or(&[]))
            }
            Model::WrongValue => {
                copy.iter_mut()
                    .zip(page.iter())
                    .for_each(|(to, from)| *to = *from);
                rewrite(copy.get(..length).unwrap_or(&[]), argument, page).unwrap_or(length)
            }
            Model::Exhaust => surplus(
                Surplus::with_number(argument).unwrap_or(Surplus::Effects),
                page,
            ),
            _ => append(page, length, &Effect::PortOut(RESET_PORT, 1, 6)),
        };
        Outcome::Answer(length as u64)
    }
}

impl Injector {
    /// A model's argument, drawn if the plan says so.
    fn argument(&mut self, place: u8, injection: &Injection) -> u64 {
        match (injection.argument, self.draws.get_mut(usize::from(place))) {
            (Injection::RANDOM, Some(state)) => draw(state),
            (argument, _) => argument,
        }
    }
}

fn flip_bit(bytes: &mut [u8], bit: u64) {
    let bits = bytes.len() as u64 * 8;
    let bit = bit.checked_rem(bits).unwrap_or(0);
    if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
        *byte ^= 1 << (bit % 8);
    }
}

/// Writes bytes into a page; where they end.
fn put(page: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    match page.get_mut(at..at + bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            at + bytes.len()
        }
        None => at,
    }
}

/// Writes one more effect; where it ends.
fn append(page: &mut [u8], at: usize, effect: &Effect<'_>) -> usize {
    let written = page.get_mut(at..).and_then(|room| effect.write(room).ok());
    at + written.unwrap_or(0)
}

/// A timer that few servers have.
const LAST_TIMER: TimerId = TimerId::nth(TimerId::COUNT as u8 - 1);

/// A line, whatever the value.
fn line_of(value: u64) -> LineId {
    let place = value % LineId::COUNT as u64;
    LineId::new(place as u8).unwrap_or(LineId::nth(0))
}

/// An answer that asks for too much of something.
fn surplus(what: Surplus, page: &mut [u8]) -> usize {
    (0..=EFFECTS as u64).fold(0, |at, index| {
        let mapping = Mapping {
            gpa: Gpa(index * Mapping::SMALL),
            size: Mapping::SMALL,
            access: 0,
        };
        let effect = match what {
            Surplus::Effects => Effect::Log(""),
            Surplus::Mail => Effect::Mail(ServerId::SUPERVISOR, b"?"),
            Surplus::Timers => Effect::Arm(LAST_TIMER, Fixed(Ticks(0))),
            Surplus::Frames => Effect::Map(Fixed(mapping)),
            Surplus::Results => Effect::PortIn(RESET_PORT, 1),
        };
        append(page, at, &effect)
    })
}

/// Writes the answer anew with another value in the first effect that has one; its length, or nothing if none has.
fn rewrite(answer: &[u8], value: u64, page: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    let mut changed = false;
    for effect in wire::effects(answer) {
        let other = if changed {
            None
        } else {
            with_value(&effect, value)
        };
        changed |= other.is_some();
        at = append(page, at, other.as_ref().unwrap_or(&effect));
    }
    changed.then_some(at)
}

/// The effect with another value, if it has one.
fn with_value<'a>(effect: &Effect<'a>, value: u64) -> Option<Effect<'a>> {
    Some(match *effect {
        Effect::Leaf(mut leaf) => {
            leaf.0.eax = value as u32;
            Effect::Leaf(leaf)
        }
        Effect::Value(_) => Effect::Value(Fixed(value)),
        Effect::Exception(mut exception) => {
            exception.0.vector = value as u8;
            Effect::Exception(exception)
        }
        Effect::Forward(mut forward, bytes) => {
            forward.0.address = value;
            Effect::Forward(forward, bytes)
        }
        Effect::Register(number, _) => Effect::Register(number, Fixed(value)),
        Effect::System(register, _) => Effect::System(register, Fixed(value)),
        Effect::Offer(mut offer) => {
            offer.0.vector = value as u8;
            Effect::Offer(offer)
        }
        Effect::GuestWrite(_, bytes) => Effect::GuestWrite(Fixed(Gpa(value)), bytes),
        Effect::Map(mut mapping) => {
            mapping.0.gpa = Gpa(value);
            Effect::Map(mapping)
        }
        Effect::Line(_, signal) => Effect::Line(line_of(value), signal),
        Effect::Arm(timer, _) => Effect::Arm(timer, Fixed(Ticks(value))),
        Effect::PortOut(port, size, _) => Effect::PortOut(port, size, value as u32),
        _ => return None,
    })
}
