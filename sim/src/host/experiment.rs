//! Faults in the simulated machine: what an experiment does to memory, and what is remembered of it.

use atoll_core::inject::Area;
use atoll_core::machine::Experiment;
use atoll_protocol::inject::{Injection, Model, Plan};
use atoll_protocol::units::ServerId;

use super::{Host, Vault};
use crate::conversation::Conversation;

impl Experiment for Host {
    fn plan(&self, known: u64) -> Option<Plan> {
        (self.plan.sequence != known).then_some(self.plan)
    }

    fn about_to_inject(
        &mut self,
        pages: &mut Conversation,
        server: ServerId,
        length: usize,
        injection: &Injection,
    ) {
        if let Some(model) = Model::with_number(u64::from(injection.model)) {
            let place = server.index();
            self.rehearse(place, &pages.messages[place][..length], model);
        }
    }

    fn accepted(&mut self, pages: &Conversation, server: ServerId, length: usize) {
        let place = server.index();
        // Its message page may hold the next message already.
        let (kind, told) = self.told[place];
        self.ledger.enter(
            server,
            kind,
            told,
            pages.answers[place].get(..length).unwrap_or(&[]),
        );
    }

    fn flip(&mut self, server: ServerId, area: Area, bit: u64) -> bool {
        let Vault { working, committed } = &mut self.vaults[server.index()];
        let Some(bit) = bit
            .checked_rem(working.len() as u64 * 64)
            .filter(|_| area == Area::Vault)
        else {
            return false;
        };
        for copy in [working, committed] {
            copy[(bit / 64) as usize] ^= 1 << (bit % 64);
        }
        true
    }
}
