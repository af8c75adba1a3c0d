//! Interrupt controllers: two 8259s, an I/O APIC, local APICs.
//!
//! What follows from these is not in here: outputs of the 8259s, priorities, and how the 8259s reach a CPU.

use serde::{Deserialize, Serialize};

use super::first_form;
use crate::units::Ticks;

/// The interrupt controllers' state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct IrqchipState {
    /// The local APICs, by vCPU.
    pub lapics: [LapicState; 4],
    /// Master and slave.
    pub pics: [PicState; 2],
    /// The I/O APIC.
    pub ioapic: IoapicState,
}
first_form!(IrqchipState);

impl IrqchipState {
    /// Whether controllers can be in this state: DFR's lower bits are always ones. A server that knew nothing has said nothing of them.
    #[must_use]
    pub fn makes_sense(&self) -> bool {
        const ONES: u32 = 0x0fff_ffff;
        self.lapics[0].destination_format & ONES == ONES
    }
}

/// One local APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct LapicState {
    /// MSR APIC_BASE.
    pub base: u64,
    /// TPR.
    pub task_priority: u8,
    /// LDR.
    pub logical_destination: u32,
    /// DFR.
    pub destination_format: u32,
    /// SVR.
    pub spurious_vector: u32,
    /// ESR as last latched by a write.
    pub error_status: u8,
    /// Errors since.
    pub errors: u8,
    /// ICR, the high half above.
    pub interrupt_command: u64,
    /// LVT: timer, thermal sensor, performance counters, LINT0, LINT1, error.
    pub local_vectors: [u32; 6],
    /// The timer's registers and how far it is.
    pub timer: ApicTimerState,
    /// IRR: the lowest vectors in the lowest bits of the first word.
    pub requests: [u64; 4],
    /// ISR.
    pub services: [u64; 4],
    /// TMR.
    pub level_triggered: [u64; 4],
    /// An NMI has come that was not offered yet.
    pub nmi: bool,
    /// What the kernel has on offer for this CPU.
    pub offered: OfferState,
}

/// A local APIC's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ApicTimerState {
    /// The initial count.
    pub initial_count: u32,
    /// The divide configuration.
    pub divide: u8,
    /// When it expires; the first tick that is not before its time.
    pub deadline: Option<Ticks>,
    /// By how many millionths of a tick `deadline` is after its time.
    pub early: u32,
    /// The period of a periodic timer, in millionths of a tick.
    pub period: u64,
}

/// What is on offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum OfferState {
    /// Nothing.
    #[default]
    Nothing,
    /// A vector of the local APIC's.
    Fixed(u8),
    /// A vector of the 8259s'.
    External(u8),
}

/// One 8259A.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct PicState {
    /// Levels of its inputs; that which the slave drives is not among them.
    pub lines: u8,
    /// Edges that were not acknowledged.
    pub edges: u8,
    /// ELCR.
    pub by_level: u8,
    /// IMR.
    pub mask: u8,
    /// ISR.
    pub services: u8,
    /// Vector of input 0 (ICW2).
    pub base: u8,
    /// The input of highest priority.
    pub first: u8,
    /// ICW4: automatic end of interrupt.
    pub auto_end: bool,
    /// OCW2: rotate at that.
    pub auto_rotate: bool,
    /// OCW3: special mask mode.
    pub special_mask: bool,
    /// ICW4: special fully nested mode.
    pub special_nested: bool,
    /// OCW3: reads show ISR, not IRR.
    pub shows_services: bool,
    /// OCW3: the next read is a poll.
    pub polls: bool,
    /// The initialisation word that is expected next, 2 to 4; 0 if none is.
    pub expects: u8,
    /// ICW1: ICW4 will follow.
    pub fourth_word: bool,
}

/// The I/O APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct IoapicState {
    /// Redirection entries.
    pub entries: [u64; 24],
    /// Levels of the pins.
    pub lines: u32,
    /// IOREGSEL.
    pub select: u8,
    /// The identification register.
    pub id: u32,
}
