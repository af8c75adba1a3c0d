//! The pages of the conversation between kernel and servers.

use atoll_core::machine::Pages;
use atoll_protocol::units::ServerId;
use atoll_protocol::{PAGE, SERVERS};

/// A page for each server's messages, and one for its answers.
pub struct Conversation {
    pub(crate) messages: Vec<[u8; PAGE]>,
    pub(crate) answers: Vec<[u8; PAGE]>,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            messages: vec![[0; PAGE]; SERVERS],
            answers: vec![[0; PAGE]; SERVERS],
        }
    }
}

impl Pages for Conversation {
    fn message(&mut self, server: ServerId) -> &mut [u8] {
        &mut self.messages[server.index()]
    }

    fn answer(&self, server: ServerId, length: usize) -> &[u8] {
        &self.answers[server.index()][..length.min(PAGE)]
    }

    fn clear(&mut self, server: ServerId) {
        self.messages[server.index()] = [0; PAGE];
        self.answers[server.index()] = [0; PAGE];
    }

    fn answer_mut(&mut self, server: ServerId) -> &mut [u8] {
        &mut self.answers[server.index()]
    }
}
