//! An answer under construction, without the SDK's types that say what may go into it.

use atoll_protocol::effect::{Effect, Signal};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::role::console_mail::OUTPUT;
use atoll_protocol::units::{LineId, ServerId, Ticks, TimerId};

use crate::ring3;
use crate::server::RogueState;

/// Bytes of an answer.
pub(crate) struct Answer<'p> {
    page: &'p mut [u8],
    used: usize,
}

/// How many effects stand before the one that is wrong.
pub const GRANTED: usize = 4;

impl<'p> Answer<'p> {
    /// An empty one.
    pub(crate) fn new(page: &'p mut [u8]) -> Self {
        Answer { page, used: 0 }
    }

    /// One of every kind of effect that the rogue has a right to: none of them may happen if another in the same answer is wrong.
    pub(crate) fn granted(page: &'p mut [u8], state: &RogueState) -> Self {
        let mut answer = Self::new(page);
        answer.put(&Effect::Save(0, 1));
        answer.put(&Effect::Line(LineId::nth(state.line), Signal::Raise));
        answer.put(&Effect::Arm(TimerId::nth(0), Fixed(Ticks(0))));
        answer.put(&Effect::Mail(
            ServerId::nth(state.console),
            &[OUTPUT, b'r', b'o', b'g', b'u', b'e'],
        ));
        answer
    }

    /// Adds an effect; what does not fit is left out.
    pub(crate) fn put(&mut self, effect: &Effect<'_>) {
        let room = self.page.get_mut(self.used..).unwrap_or_default();
        self.used += postcard::to_slice(effect, room).map_or(0, |bytes| bytes.len());
    }

    /// Adds bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let room = self.page.get_mut(self.used..).unwrap_or_default();
        room.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self.used += bytes.len();
    }

    /// Takes bytes away from the end.
    pub(crate) fn cut(&mut self, count: usize) {
        self.used = self.used.saturating_sub(count);
    }

    /// Ends the activation.
    pub(crate) fn send(self) -> ! {
        ring3::answer(self.used as u64)
    }
}
