//! What a server does beside replying, and what an activation may look at.

use core::fmt;
use core::marker::PhantomData;

use atoll_protocol::effect::Effect;
use atoll_protocol::message::Header;
use atoll_protocol::role::Role;
use atoll_protocol::units::Ticks;

use crate::guest::GuestMemory;
use crate::text::Text;

/// Bytes of a line in the log; what is longer is cut.
const LOG_BYTES: usize = 240;
/// Bytes of an answer from which on it is crowded.
const CROWDED: usize = 96;

/// What an activation may look at beside its message.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'e> {
    /// Guest memory, for those who may read it.
    pub guest: GuestMemory<'e>,
    /// The bundle, for those who may read it; else empty.
    pub bundle: &'e [u8],
}

impl Surroundings<'_> {
    /// Nothing to look at.
    pub const NONE: Surroundings<'static> = Surroundings {
        guest: GuestMemory::NONE,
        bundle: &[],
    };
}

/// The answer under construction. Only effects of the role `R` can be put into it.
pub struct Effects<'e, R: Role> {
    header: Header,
    answer: &'e mut [u8],
    used: usize,
    around: Surroundings<'e>,
    role: PhantomData<R>,
}

impl<'e, R: Role> Effects<'e, R> {
    #[inline(always)]
    pub(crate) fn new(header: Header, answer: &'e mut [u8], around: Surroundings<'e>) -> Self {
        Effects {
            header,
            answer,
            used: 0,
            around,
            role: PhantomData,
        }
    }

    /// What time it is, by the host's time-stamp counter.
    #[inline(always)]
    #[must_use]
    pub fn now(&self) -> Ticks {
        self.header.now
    }

    /// The virtual CPU concerned.
    #[inline(always)]
    #[must_use]
    pub fn vcpu(&self) -> u8 {
        self.header.vcpu
    }

    /// That CPU's task priority; meaningful to interrupt controllers.
    #[inline(always)]
    #[must_use]
    pub fn task_priority(&self) -> u8 {
        self.header.tpr
    }

    /// Guest memory, for those who may read it.
    #[inline(always)]
    #[must_use]
    pub fn guest(&self) -> &GuestMemory<'e> {
        &self.around.guest
    }

    /// The bundle, for those who may read it; else empty.
    #[must_use]
    pub fn bundle(&self) -> &'e [u8] {
        self.around.bundle
    }

    /// Adds an effect. Effects are committed in the order they were added, all of them or none.
    ///
    /// # Panics
    /// The answer page is full: the server asks for more than one answer can hold.
    #[inline(always)]
    pub fn emit(&mut self, effect: R::Effect<'_>) {
        self.put(&effect.into());
    }

    /// Writes a line to the machine's log: what no guest and no other server sees, so a server of any role may. The kernel leaves out what is
    /// too much.
    ///
    /// # Panics
    /// See [`Effects::emit`].
    #[cold]
    #[inline(never)]
    pub fn log(&mut self, line: impl fmt::Display) {
        self.put(&Effect::Log(Text::<LOG_BYTES>::of(line).as_str()));
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, effect: &Effect<'_>) {
        let Some(room) = self.answer.get_mut(self.used..) else {
            unreachable!("used never passes the page")
        };
        match effect.write(room) {
            Ok(length) => self.used += length,
            Err(_) => panic!("more effects than an answer page holds"),
        }
    }

    /// Whether the answer is so full that what can wait should. A string instruction is many accesses in one activation, and an answer
    /// has at most [`EFFECTS`](atoll_protocol::EFFECTS) effects: a guest must not be able to make a device exceed them. No effect that
    /// a device repeats is shorter than three bytes, so at least a quarter of the effects are still free when this becomes true.
    #[inline(always)]
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.used > CROWDED
    }

    /// Bytes of the answer so far.
    #[inline(always)]
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}
