//! Pages of RAM that stand in for pages of devices while the guest executes one instruction.
//!
//! What the processor itself does with registers that no server sees, with every flag and every exception, no emulator does as well. So an
//! emulator fetches the operand from the device, has the guest execute the instruction on that, and passes on what it has stored. The
//! instruction is a hidden step (see [`step`](super::step)): interrupts wait for its end, and it ends with itself or with an exception. What
//! exits in between, for RAM that is to be mapped or a host's interrupt, leaves the pages where they are.

use atoll_protocol::STAND_INS;
use atoll_protocol::units::Gpa;

use super::Vcpu;

/// The pages, and whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandIns {
    pages: [Gpa; STAND_INS],
    count: usize,
    /// The emulator's, of the last one.
    pub(crate) token: u64,
}

impl StandIns {
    /// None.
    pub(super) const NONE: StandIns = StandIns {
        pages: [Gpa(0); STAND_INS],
        count: 0,
        token: 0,
    };

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.count != 0
    }

    /// One more; false if there are too many.
    pub(super) fn add(&mut self, page: Gpa, token: u64) -> bool {
        self.token = token;
        if self.pages().contains(&page) {
            return true;
        }
        let Some(place) = self.pages.get_mut(self.count) else {
            return false;
        };
        *place = page;
        self.count += 1;
        true
    }

    /// Where they stand.
    pub(crate) fn pages(&self) -> &[Gpa] {
        self.pages.get(..self.count).unwrap_or(&[])
    }
}

impl Vcpu {
    /// Whether pages stand in for the next instruction.
    pub fn has_stand_ins(&self) -> bool {
        self.events.stand_ins.any()
    }

    /// The instruction is over.
    pub(crate) fn take_stand_ins(&mut self) -> StandIns {
        core::mem::replace(&mut self.events.stand_ins, StandIns::NONE)
    }
}
