//! One local APIC (Intel SDM vol. 3 chapter 11, AMD APM vol. 2 chapter 16): what is pending, what is in service, what goes next.
//!
//! The state is cut into vault lines by how often it changes: requests and services with each interrupt, the timer's deadline with each
//! tick, the register file hardly ever.

pub mod base;
pub mod registers;
mod succession;
pub mod timer;
pub mod x2apic;

use atoll_protocol::effect::Offer;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::interrupt::{Interrupt, Mode};
use crate::vectors::Vectors;
use registers::Registers;

/// LVT: masked.
pub(crate) const MASKED: u32 = 1 << 16;
/// `wired`: LINT0 lets the 8259s through.
pub(crate) const BY_LINT0: u8 = 1;
/// `wired`: the I/O APIC's pin 0 does.
pub(crate) const BY_IOAPIC: u8 = 2;

/// The parts that change with each interrupt. Two vault lines.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Live {
    /// IRR: pending.
    pub irr: Vectors,
    /// ISR: in service.
    pub isr: Vectors,

    /// TMR: which of them are level-triggered.
    pub tmr: Vectors,
    /// When the timer fires, by the TSC; 0 if it does not run.
    pub deadline: u64,
    /// The timer's period, in millionths of a tick so that no period drifts; see [`timer`].
    pub period: u64,
    /// The timer's LVT entry.
    pub lvt_timer: u32,
    /// What the kernel has on offer.
    pub offered: Offered,
    /// Task priority. Its class is V_TPR, that is CR8; see [`Live::see_priority`].
    pub tpr: u8,
    /// How the 8259s reach this CPU: [`BY_LINT0`], [`BY_IOAPIC`]; 0 if they do not.
    pub wired: u8,
    /// 1: an NMI has come and is not yet told.
    pub nmi: u8,
    reserved: [u8; 5],
}

/// An offer's kind and vector.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Offered {
    /// [`Offer::NONE`], [`Offer::FIXED`] or [`Offer::EXTERNAL`].
    pub kind: u8,
    /// Its vector; 0 if there is none.
    pub vector: u8,
    reserved: [u8; 2],
}

impl Offered {
    /// Nothing is on offer.
    pub const NONE: Offered = Offered {
        kind: Offer::NONE,
        vector: 0,
        reserved: [0; 2],
    };

    /// An offer of the APIC's own.
    #[inline(always)]
    #[must_use]
    pub const fn fixed(vector: u8) -> Offered {
        Offered {
            kind: Offer::FIXED,
            vector,
            reserved: [0; 2],
        }
    }

    /// An offer of the 8259s.
    #[must_use]
    pub const fn external(vector: u8) -> Offered {
        Offered {
            kind: Offer::EXTERNAL,
            vector,
            reserved: [0; 2],
        }
    }
}

impl Live {
    /// What the APIC itself would have its CPU take next. The task priority is not looked at: the kernel holds its class as V_TPR, blocks
    /// by that, and notices at once when it is lowered.
    #[inline(always)]
    #[must_use]
    pub fn next(&self) -> Offered {
        let vector = self.irr.highest();
        if vector >> 4 > self.isr.highest() >> 4 {
            Offered::fixed(vector)
        } else {
            Offered::NONE
        }
    }

    /// Whether V_TPR is the register's class. The register's writes set V_TPR; if it is another now, CR8 was written since.
    #[inline(always)]
    #[must_use]
    pub fn priority_stands(&self, cr8: u8) -> bool {
        self.tpr >> 4 == cr8
    }

    /// Takes over a changed V_TPR.
    pub fn see_priority(&mut self, cr8: u8) {
        self.tpr = cr8 << 4;
    }

    /// The processor priority (SDM vol. 3 §11.8.3.1).
    #[must_use]
    pub fn processor_priority(&self) -> u8 {
        let (task, service) = (self.tpr, self.isr.highest());
        if task >> 4 >= service >> 4 {
            task
        } else {
            service & 0xf0
        }
    }

    /// Whether the timer is in TSC-deadline mode.
    #[inline(always)]
    #[must_use]
    pub fn by_deadline(&self) -> bool {
        self.lvt_timer & timer::MODE == timer::TSC_DEADLINE
    }

    /// The vector to request when the timer expires, if it is in TSC-deadline mode, not masked, and the vector legal.
    #[inline(always)]
    #[must_use]
    pub fn plain_deadline(&self) -> Option<u8> {
        let vector = self.lvt_timer as u8;
        (self.lvt_timer & (timer::MODE | MASKED) == timer::TSC_DEADLINE && vector >= 16)
            .then_some(vector)
    }

    /// A request becomes pending. One that already is stays one.
    #[inline(always)]
    pub fn request(&mut self, vector: u8, level: bool) {
        self.irr.insert(vector);
        if level {
            self.tmr.insert(vector);
        } else if self.tmr.contains(vector) {
            self.tmr.remove(vector);
        }
    }

    /// The CPU has begun to serve `vector`.
    #[inline(always)]
    pub fn accept(&mut self, vector: u8) {
        self.irr.remove(vector);
        if vector >= 16 {
            self.isr.insert(vector);
        }
    }
}

/// One local APIC. Three vault lines.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Lapic {
    /// What changes with each interrupt.
    pub live: Live,
    /// The register file.
    pub registers: Registers,
}

impl Lapic {
    /// As firmware leaves it: after reset, and for the bootstrap CPU in virtual wire mode, where LINT0 lets the 8259s through and LINT1
    /// is the NMI (MultiProcessor Specification 1.4 §3.6.2.2).
    #[must_use]
    pub fn new(id: u8) -> Lapic {
        let mut lapic = Lapic {
            live: Live::default(),
            registers: Registers::new(id),
        };
        lapic.live.lvt_timer = MASKED;
        if id == 0 {
            lapic.registers.virtual_wire();
        }
        lapic.rewire();
        lapic
    }

    /// Whether an interrupt is addressed to this APIC and would be taken.
    #[must_use]
    pub fn takes(&self, interrupt: &Interrupt) -> bool {
        let listening = match interrupt.mode {
            Mode::Fixed | Mode::Lowest => self.registers.software_enabled(),
            Mode::Nmi | Mode::External => self.registers.enabled(),
            Mode::Other => false,
        };
        listening && self.registers.addressed(interrupt)
    }

    /// An interrupt from one of the local vector table's sources.
    pub fn local(&mut self, entry: u32) {
        if entry & MASKED != 0 || !self.registers.enabled() {
            return;
        }
        match Mode::of(entry >> 8) {
            Mode::Fixed => self.receive(entry as u8, false),
            Mode::Nmi => self.live.nmi = 1,
            _ => {}
        }
    }

    /// A vector arrives.
    pub fn receive(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            self.error(registers::RECEIVED_ILLEGAL_VECTOR);
        } else {
            self.live.request(vector, level);
        }
    }

    /// Notes an error, and raises the error interrupt if the error is new.
    pub fn error(&mut self, error: u8) {
        let entry = self.registers.lvt_error;
        if self.registers.note_error(error) && entry & MASKED == 0 && entry as u8 >= 16 {
            self.live.request(entry as u8, false);
        }
    }

    /// Works out again whether LINT0 lets the 8259s through; a disabled APIC leaves the pin to them.
    pub fn rewire(&mut self) {
        let through = self.registers.external_through();
        self.live.wired = self.live.wired & !BY_LINT0 | if through { BY_LINT0 } else { 0 };
    }
}
