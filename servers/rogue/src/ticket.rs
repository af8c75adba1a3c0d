//! The ticket: exactly one effect of an answer completes it.

use atoll_protocol::effect::Effect;
use atoll_protocol::fixed::Fixed;

use crate::answer::Answer;
use crate::ring3::page;
use crate::server::RogueState;

misdeeds! {
    /// Treating its ticket badly.
    Ticket {
        /// Answers nothing at all: the plainest misdeed of all, which the others are compared with.
        AnswerNothing,
        /// Does all that it may do, but leaves the ticket open.
        LeaveOpen,
        /// Completes it twice.
        CompleteTwice,
        /// Completes it, and asks for it again.
        CompleteAndDefer,
    }
}

impl Ticket {
    pub(crate) fn commit(self, state: &RogueState) -> ! {
        if self == Ticket::AnswerNothing {
            Answer::new(page()).send()
        }
        let mut answer = Answer::granted(page(), state);
        match self {
            Ticket::AnswerNothing | Ticket::LeaveOpen => {}
            Ticket::CompleteTwice => {
                answer.put(&Effect::Done);
                answer.put(&Effect::Value(Fixed(1)));
            }
            Ticket::CompleteAndDefer => {
                answer.put(&Effect::Done);
                answer.put(&Effect::Defer(Fixed(atoll_protocol::units::Ticks(0))));
            }
        }
        answer.send()
    }
}
