//! Treating the ticket badly. Before the rule is broken stand one granted effect of each kind, of which none may be committed.

use atoll_protocol::fault::Reason;
use atoll_rogue::GRANTED;

crate::rogue_tests! {
    Ticket {
        an_answer_of_nothing_leaves_the_ticket_open: AnswerNothing => Reason::TicketOpen, 0;
        a_ticket_left_open_discards_all_else: LeaveOpen => Reason::TicketOpen, GRANTED;
        a_ticket_cannot_be_completed_twice: CompleteTwice => Reason::TicketOpen, GRANTED + 1;
        a_completed_ticket_cannot_be_deferred: CompleteAndDefer => Reason::TicketOpen, GRANTED + 1;
    }
}
