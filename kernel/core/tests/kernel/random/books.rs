//! The kernel's books, held against each other: whatever was answered, they must balance.

use atoll_core::mailbox::{LETTERS, RESULTS};
use atoll_core::server::Standing;
use atoll_core::ticket::{LOAD, Operation, VCPU};
use atoll_core::vcpu::Stand;
use atoll_protocol::SERVERS;
use atoll_protocol::units::{ServerId, TicketId};

use crate::simulation::Simulation;

/// What has to be remembered from one audit to the next.
pub(crate) struct Books {
    /// The most credit that each pair ever had.
    credit: [[u8; SERVERS]; SERVERS],
    /// An exit whose server was faulted; it is not delivered again, so it waits until the next one takes its place.
    abandoned: Option<TicketId>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            credit: [[0; SERVERS]; SERVERS],
            abandoned: None,
        }
    }
}

impl Books {
    /// Asserts that all of it adds up.
    pub(crate) fn audit(&mut self, kernel: &Simulation) {
        self.mail(kernel);
        self.tickets(kernel);
        timers(kernel);
    }

    /// Tickets are open exactly as long as somebody waits for them.
    fn tickets(&mut self, kernel: &Simulation) {
        let state = &kernel.state;
        let mut exit = None;
        for (id, ticket) in state.tickets.named() {
            let slot = (id.0 & 0xff) as usize;
            let standing = state.servers[ticket.holder].standing;
            let is_held = standing == Standing::Running;
            match (slot, ticket.operation) {
                (_, Operation::None) => panic!("a free ticket that is open"),
                (VCPU, Operation::Load | Operation::Mail) => panic!("an exit that is none"),
                (VCPU, _) => {
                    assert!(
                        !is_held || self.abandoned == Some(id),
                        "an exit that waits for a server that has answered"
                    );
                    exit = Some(id);
                }
                (LOAD, operation) => assert_eq!(operation, Operation::Load),
                (_, operation) => {
                    assert_eq!(operation, Operation::Mail);
                    assert!(
                        is_held || matches!(standing, Standing::Faulted | Standing::Held),
                        "a request that nobody will answer"
                    );
                }
            }
        }
        assert!(
            exit.is_some() || state.vcpu.stand != Stand::Waiting,
            "the guest waits for nothing"
        );
        self.abandoned = exit;
    }

    fn mail(&mut self, kernel: &Simulation) {
        let servers = &kernel.state.servers;
        for (receiver, server) in servers.0.iter().enumerate() {
            let to = ServerId::nth(receiver as u8);
            let mut lying = [0_u8; SERVERS];
            let (mut letters, mut results) = (0, 0);
            for (from, _) in server.letters() {
                letters += 1;
                match from {
                    Some(from) => lying[from.index()] += 1,
                    None => results += 1,
                }
            }
            assert!(letters <= LETTERS, "a mailbox above its capacity");
            for (sender, other) in servers.0.iter().enumerate() {
                let outstanding = other.undelivered_to(to);
                assert_eq!(
                    lying[sender], outstanding,
                    "mail of {sender} to {receiver} that is on the way but nowhere"
                );
                let credit = &mut self.credit[sender][receiver];
                *credit = other.credit_to(to).max(*credit);
                assert!(
                    outstanding <= *credit,
                    "{sender} has more mail to {receiver} on the way than its credit"
                );
            }
            let requests = kernel.state.tickets.named().map(|(_, ticket)| ticket);
            let requests = requests
                .filter(|ticket| ticket.operation == Operation::Mail && ticket.asker == Some(to))
                .count();
            let awaited = results + requests as u8;
            assert_eq!(
                server.results, awaited,
                "results that {receiver} waits for in vain, or that come unawaited"
            );
            assert!(server.results <= RESULTS, "more results than places");
        }
    }
}

/// Timers belong to servers, and the machine's own fires no later than the first of them.
fn timers(kernel: &Simulation) {
    let state = &kernel.state;
    for (server, timer, deadline) in state.timers.armed() {
        let owner = &state.servers[server];
        assert_ne!(owner.standing, Standing::Empty, "a timer without a server");
        assert!(
            timer.number() < owner.limits.timers,
            "a timer beyond its server's number"
        );
        assert!(
            state.machine.armed <= deadline,
            "a timer that will not fire"
        );
    }
}
