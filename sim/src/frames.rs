//! Who has which page frames.

use atoll_protocol::SERVERS;
use atoll_protocol::units::ServerId;

/// Frames of the machine.
const FRAMES: u64 = 1 << 16;

/// The frames that are free, and how many each server has.
pub struct Frames {
    free: u64,
    held: [u64; SERVERS],
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            free: FRAMES,
            held: [0; SERVERS],
        }
    }
}

impl Frames {
    /// Frames that nobody has.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Frames that this server has.
    #[must_use]
    pub fn held(&self, server: ServerId) -> u64 {
        self.held[server.index()]
    }

    /// Takes frames for the guest.
    ///
    /// # Panics
    /// There are not as many: the kernel's check had counted them.
    pub(crate) fn take(&mut self, count: u64) {
        self.free = self
            .free
            .checked_sub(count)
            .expect("frames ran out after the check had counted them");
    }

    pub(crate) fn take_for(&mut self, server: ServerId, count: u64) {
        self.take(count);
        self.held[server.index()] += count;
    }

    pub(crate) fn give_back(&mut self, server: ServerId) {
        self.free += std::mem::take(&mut self.held[server.index()]);
    }

    pub(crate) fn exchange(&mut self, one: ServerId, other: ServerId) {
        self.held.swap(one.index(), other.index());
    }
}
