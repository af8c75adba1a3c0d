//! Interrupt windows and injection (APM vol. 2 §15.20, §15.21).
//!
//! What goes in at the next VMRUN, in this order: an event whose delivery the last exit interrupted, or an exception that a server
//! raised; an NMI; the interrupt controller's offer. What cannot go in yet opens a window. An offer is *accepted* once a VMRUN has
//! executed with it in EVENTINJ.

use atoll_protocol::effect::Offer;
use atoll_protocol::message::Header;
use atoll_protocol::vcpu::Exception;

use super::Vcpu;
use super::step::Step;
use super::vmcb::{Vmcb, event, intercept, vintr};
use crate::machine::Machine;

const RFLAGS_IF: u64 = 1 << 9;
pub(super) const NOWHERE: u64 = u64::MAX;

/// What the next VMRUN carries: something in EVENTINJ, or a hidden step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    None,
    Offer,
    Other,
    Step,
}

/// A vCPU's pending events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    offer: Offer,
    /// An event that goes in ahead of everything else, in EVENTINJ's layout; 0 for none.
    first: u64,
    flight: Flight,
    /// The vector accepted and not yet told, or [`Header::NOT_ACCEPTED`].
    pub(crate) accepted: u16,
    nmi_pending: bool,
    nmi_blocked: bool,
    window: bool,
    /// Whether anything above may want something of the next VMRUN: the one thing that the usual entry looks at.
    busy: bool,
    /// Whether the next exit has something to take notice of: what is in flight, or a shadow that may end.
    eventful: bool,
    /// RIP of an instruction that is in an interrupt shadow: where the CPU does not load the shadow at VMRUN (QEMU 7.2), only this
    /// keeps an interrupt from preceding it.
    pub(super) shadowed: u64,
    pub(super) step: Step,
}

const NO_OFFER: Offer = Offer { vcpu: 0, vector: 0, kind: Offer::NONE, nmi: 0 };

impl Events {
    /// Nothing pending.
    pub const NONE: Events = Events {
        offer: NO_OFFER,
        first: 0,
        flight: Flight::None,
        accepted: Header::NOT_ACCEPTED,
        nmi_pending: false,
        nmi_blocked: false,
        window: false,
        busy: false,
        eventful: false,
        shadowed: NOWHERE,
        step: Step::NONE,
    };

    /// Replaces the offer.
    #[inline(always)]
    pub(crate) fn offer(&mut self, offer: Offer) {
        self.nmi_pending |= offer.nmi != 0;
        self.offer = offer;
        self.busy = true;
    }

    /// An exception that a server raised.
    pub(super) fn raise(&mut self, exception: &Exception) {
        let code = if exception.has_error != 0 { event::ERROR | u64::from(exception.error) << 32 } else { 0 };
        self.first = event::VALID | event::EXCEPTION | u64::from(exception.vector) | code;
        self.busy = true;
    }

    /// An NMI of the guest's is at its IRET: unblocked once that has executed.
    pub(crate) fn at_iret(&mut self, vmcb: &mut Vmcb) {
        self.nmi_blocked = false;
        vmcb.control.intercepts1 &= !intercept::IRET;
        self.shadowed = vmcb.save.rip;
        self.eventful = true;
    }

    fn blocked_by_priority(&self, vmcb: &Vmcb) -> bool {
        self.offer.kind == Offer::FIXED && u64::from(self.offer.vector >> 4) <= vmcb.control.vintr & 0xf
    }

    #[inline(always)]
    fn in_shadow(&self, vmcb: &Vmcb) -> bool {
        vmcb.control.shadow & 1 != 0 || self.shadowed == vmcb.save.rip
    }
}

impl Vcpu {
    /// Whether something would end HLT right now.
    pub fn wakes(&self) -> bool {
        let Events { offer, nmi_pending, nmi_blocked, first, .. } = &self.events;
        let interrupt = offer.kind != Offer::NONE && self.vmcb.save.rflags & RFLAGS_IF != 0;
        *first != 0 || (*nmi_pending && !nmi_blocked) || (interrupt && !self.events.blocked_by_priority(&self.vmcb))
    }

    /// Takes notice of a #VMEXIT: what was injected, and what must go back in. True if the irqchip must hear of an acceptance at once.
    #[inline(always)]
    pub fn note_exit(&mut self) -> bool {
        let Vmcb { control, .. } = &self.vmcb;
        let eventful = self.events.eventful || (control.shadow | control.exit_int_info >> 31) & 1 != 0;
        eventful && self.note_events()
    }

    /// Something was injected, interrupted or is in a shadow, or was at the last exit.
    #[inline(never)]
    fn note_events(&mut self) -> bool {
        let Vcpu { vmcb, events, .. } = self;
        let mut at_once = false;
        if events.flight != Flight::None {
            vmcb.control.event = 0;
            if events.flight == Flight::Offer {
                events.accepted = u16::from(events.offer.vector);
                at_once = events.offer.kind == Offer::EXTERNAL;
                events.offer = NO_OFFER;
            } else if events.flight == Flight::Step {
                events.step.end(vmcb);
            }
            events.flight = Flight::None;
        }
        let interrupted = vmcb.control.exit_int_info;
        if interrupted & event::VALID != 0 && interrupted & event::TYPE != event::SOFTWARE {
            events.first = interrupted;
            events.busy = true;
        }
        if vmcb.control.shadow & 1 != 0 {
            events.shadowed = vmcb.save.rip;
        } else if events.shadowed != vmcb.save.rip {
            events.shadowed = NOWHERE;
        }
        events.eventful = events.shadowed != NOWHERE;
        at_once
    }

    /// Fills EVENTINJ and opens or closes the window, right before VMRUN. True if what waits can go in soon, and no exit will tell.
    #[inline(always)]
    pub fn prepare_entry<M: Machine>(&mut self, machine: &M) -> bool {
        let Vcpu { vmcb, events, .. } = self;
        if !events.busy || !events.choose(vmcb) {
            return false;
        }
        let steps = self.begin_step(machine);
        if steps {
            self.events.flight = Flight::Step;
            self.events.eventful = true;
        }
        !steps
    }
}

impl Events {
    /// True if one instruction must be stepped over first.
    fn choose(&mut self, vmcb: &mut Vmcb) -> bool {
        let mut wants_window = false;
        let mut wants_step = false;
        let shadow = self.in_shadow(vmcb);
        if self.first != 0 {
            vmcb.control.event = core::mem::take(&mut self.first);
            self.flight = Flight::Other;
            wants_window = self.offer.kind != Offer::NONE;
        } else if self.nmi_pending && !self.nmi_blocked {
            if shadow {
                wants_step = true;
            } else {
                self.nmi_pending = false;
                self.nmi_blocked = true;
                vmcb.control.intercepts1 |= intercept::IRET;
                vmcb.control.event = event::VALID | event::NMI | 2;
                self.flight = Flight::Other;
                wants_window = self.offer.kind != Offer::NONE;
            }
        } else if self.offer.kind != Offer::NONE && !self.blocked_by_priority(vmcb) {
            if vmcb.save.rflags & RFLAGS_IF == 0 {
                wants_window = true;
            } else if shadow {
                wants_step = true;
            } else {
                vmcb.control.event = event::VALID | event::INTERRUPT | u64::from(self.offer.vector);
                self.flight = Flight::Offer;
                // The 8259s may ask again with no end of interrupt in between, and know only at an exit that this one was taken.
                wants_window = self.offer.kind == Offer::EXTERNAL;
            }
        }
        if wants_window != self.window {
            self.window = wants_window;
            let bits = vintr::IRQ | vintr::PRIORITY | vintr::IGNORE_TPR;
            if wants_window {
                vmcb.control.vintr |= bits;
                vmcb.control.intercepts1 |= intercept::VINTR;
            } else {
                vmcb.control.vintr &= !bits;
                vmcb.control.intercepts1 &= !intercept::VINTR;
            }
        }
        self.eventful |= self.flight != Flight::None;
        self.busy = self.first != 0 || self.offer.kind != Offer::NONE || self.nmi_pending || self.window;
        wants_step
    }
}
