//! The message and answer pages: two per server, in the kernel's image, mapped into the server as well.

use atoll_core::machine::Pages;
use atoll_protocol::units::{Hpa, ServerId};
use atoll_protocol::{PAGE, SERVERS};

use crate::memory::physical::Physical;

type Page = Physical<[u8; PAGE]>;

static MESSAGES: [Page; SERVERS] = [const { Page::new([0; PAGE]) }; SERVERS];
static ANSWERS: [Page; SERVERS] = [const { Page::new([0; PAGE]) }; SERVERS];

/// The right to all pages of the conversation. There is one.
pub(crate) struct Conversation;

impl Conversation {
    /// Where a server's message page is.
    pub(super) fn message_page(server: ServerId) -> Hpa {
        MESSAGES[server.index()].address()
    }

    /// Where a server's answer page is.
    pub(super) fn answer_page(server: ServerId) -> Hpa {
        ANSWERS[server.index()].address()
    }
}

impl Pages for Conversation {
    #[inline(always)]
    fn message(&mut self, server: ServerId) -> &mut [u8] {
        // SAFETY: the server does not run while the kernel does, and `self` is borrowed exclusively: this is the only reference.
        unsafe { &mut *MESSAGES[server.index()].get() }
    }

    #[inline(always)]
    fn answer(&self, server: ServerId, length: usize) -> &[u8] {
        // SAFETY: the server does not run before this borrow ends: an activation takes the pages exclusively.
        let page = unsafe { &*ANSWERS[server.index()].get() };
        page.get(..length).unwrap_or(page)
    }

    fn clear(&mut self, server: ServerId) {
        for page in [&MESSAGES, &ANSWERS].map(|pages| &pages[server.index()]) {
            // SAFETY: the server does not run while the kernel does, and `self` is borrowed exclusively: there is no reference.
            unsafe { page.get().write_bytes(0, 1) };
        }
    }

    #[cfg(feature = "fault-injection")]
    fn answer_mut(&mut self, server: ServerId) -> &mut [u8] {
        // SAFETY: the server does not run while the kernel does, and `self` is borrowed exclusively: this is the only reference.
        unsafe { &mut *ANSWERS[server.index()].get() }
    }
}
