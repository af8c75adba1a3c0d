//! Interrupt windows and injection (APM vol. 2 §15.20, §15.21).
//!
//! What goes in at the next VMRUN, in this order: an event whose delivery the last exit interrupted, or an exception that a server
//! raised; an NMI; the interrupt controller's offer.
//!
//! Exceptions and NMIs go in through EVENTINJ. An offer is a virtual interrupt: the CPU takes it as soon as the guest may be
//! interrupted, with no exit on the way, and it is *accepted* once an exit finds that V_IRQ has gone. EVENTINJ would do on other CPUs;
//! QEMU's TCG (measured on 7.2; later sources are alike) keeps a vector that VMRUN injected as a pending exception, and raises it a
//! second time, whatever IF is, if it leaves its loop for a moment before the next #VMEXIT: for a timer of a device, most of all with
//! `-icount`.
//!
//! Of the 8259s' interrupts an exit must tell, since they may ask again with no end of interrupt in between: a window opens for them
//! where they cannot go in yet, and the handler's IRET is intercepted. A window opens for any offer behind an event in EVENTINJ, whose
//! delivery must not be taken for the offer's.

use atoll_protocol::effect::Offer;
use atoll_protocol::message::Header;
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::Exception;

use super::Vcpu;
use super::stand_ins::StandIns;
use super::step::Step;
use super::vmcb::{Control, Vmcb, event, exit, intercept, vintr};
use crate::machine::Machine;
use crate::quirks::Quirks;

const RFLAGS_IF: u64 = 1 << 9;
/// Exceptions that the delivery of an interrupt can raise: #DF, #TS, #NP, #SS, #GP, #PF.
const DELIVERY: u32 = 0x7d00;
pub(super) const NOWHERE: u64 = u64::MAX;

/// V_IRQ, for an offer or a window.
const REQUEST: u64 = vintr::IRQ | vintr::PRIORITY | vintr::IGNORE_TPR;

/// A vCPU's pending events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    offer: Offer,
    /// An event that goes in ahead of everything else, in EVENTINJ's layout; 0 for none.
    first: u64,
    /// Whether V_IRQ asks for the offer.
    asked: bool,
    /// Whether a hidden step is under way.
    stepping: bool,
    /// The vector accepted and not yet told, or [`Header::NOT_ACCEPTED`].
    pub(crate) accepted: u16,
    nmi_pending: bool,
    nmi_blocked: bool,
    /// Whether anything above may want something of the next VMRUN: the one thing that the usual entry looks at.
    busy: bool,
    /// Whether the next exit has something to take notice of: what VMRUN carries, or a shadow that may end.
    eventful: bool,
    /// RIP of an instruction that is in an interrupt shadow: where the CPU does not load the shadow at VMRUN (QEMU 7.2), only this
    /// keeps an interrupt from preceding it.
    pub(super) shadowed: u64,
    pub(super) step: Step,
    /// What stands in while the next instruction is executed.
    pub(super) stand_ins: StandIns,
}

const NO_OFFER: Offer = Offer {
    vcpu: 0,
    vector: 0,
    kind: Offer::NONE,
    nmi: 0,
};

impl Events {
    /// Nothing pending.
    pub const NONE: Events = Events {
        offer: NO_OFFER,
        first: 0,
        asked: false,
        stepping: false,
        accepted: Header::NOT_ACCEPTED,
        nmi_pending: false,
        nmi_blocked: false,
        busy: false,
        eventful: false,
        shadowed: NOWHERE,
        step: Step::NONE,
        stand_ins: StandIns::NONE,
    };

    /// Replaces the offer.
    #[inline(always)]
    pub(crate) fn offer(&mut self, offer: Offer) {
        self.nmi_pending |= offer.nmi != 0;
        self.offer = offer;
        self.busy = true;
    }

    /// A page stands in for the next instruction, which is therefore stepped over.
    #[cold]
    pub(crate) fn stand_in(&mut self, page: Gpa, token: u64) -> bool {
        self.busy = true;
        self.stand_ins.add(page, token)
    }

    /// An exception that a server raised.
    pub(super) fn raise(&mut self, exception: &Exception) {
        let code = if exception.has_error != 0 {
            event::ERROR | u64::from(exception.error) << 32
        } else {
            0
        };
        self.first = event::VALID | event::EXCEPTION | u64::from(exception.vector) | code;
        self.busy = true;
    }

    /// The guest is at an IRET. NMIs are unblocked once that has executed.
    pub(crate) fn at_iret(&mut self, vmcb: &mut Vmcb) {
        vmcb.control.intercepts1 &= !intercept::IRET;
        if core::mem::take(&mut self.nmi_blocked) {
            self.shadowed = vmcb.save.rip;
            self.eventful = true;
        }
    }

    fn blocked_by_priority(&self, control: &Control) -> bool {
        self.offer.kind == Offer::FIXED && u64::from(self.offer.vector >> 4) <= control.vintr & 0xf
    }

    #[inline(always)]
    fn in_shadow(&self, vmcb: &Vmcb) -> bool {
        vmcb.control.shadow & 1 != 0 || self.shadowed == vmcb.save.rip
    }
}

impl Vcpu {
    /// Whether something would end HLT right now.
    pub fn wakes(&self) -> bool {
        let Events {
            offer,
            nmi_pending,
            nmi_blocked,
            first,
            ..
        } = &self.events;
        let interrupt = offer.kind != Offer::NONE && self.vmcb.save.rflags & RFLAGS_IF != 0;
        *first != 0
            || (*nmi_pending && !nmi_blocked)
            || (interrupt && !self.events.blocked_by_priority(&self.vmcb.control))
    }

    /// Takes notice of a #VMEXIT: what was injected, and what must go back in. True if the irqchip must hear of an acceptance at once.
    #[inline(always)]
    pub fn note_exit(&mut self) -> bool {
        let Vmcb { control, .. } = &self.vmcb;
        let eventful =
            self.events.eventful || (control.shadow | control.exit_int_info >> 31) & 1 != 0;
        eventful && self.note_events()
    }

    /// Something was injected, interrupted or is in a shadow, or was at the last exit.
    #[inline(never)]
    fn note_events(&mut self) -> bool {
        let Vcpu { vmcb, events, .. } = self;
        let Vmcb { control, .. } = vmcb;
        let (interrupted, mut at_once, mut again) = (control.exit_int_info, false, true);
        control.event = 0;
        events.step.ended = false;
        if core::mem::take(&mut events.stepping) {
            events.step.end(vmcb);
        } else if core::mem::take(&mut events.asked) {
            control.intercept_exceptions &= !DELIVERY;
            // Where delivery was interrupted, some CPUs have taken V_IRQ back, and some (QEMU) have not: those will deliver it again, if
            // it was not an exception that the delivery has raised.
            let own = interrupted & (event::VALID | 0xff)
                == event::VALID | u64::from(events.offer.vector);
            again = !own || control.vintr & vintr::IRQ == 0;
            let faulted = own
                && (exit::EXCEPTION..=exit::LAST_EXCEPTION).contains(&(control.exit_code as u32));
            if control.vintr & vintr::IRQ == 0 || faulted {
                events.accepted = u16::from(events.offer.vector);
                at_once = events.offer.kind == Offer::EXTERNAL;
                events.offer = NO_OFFER;
                if at_once && !events.nmi_blocked {
                    control.intercepts1 &= !intercept::IRET;
                }
            }
        }
        let Vmcb { control, save } = vmcb;
        if again && interrupted & event::VALID != 0 && interrupted & event::TYPE != event::SOFTWARE
        {
            events.first = interrupted;
            events.busy = true;
        }
        if control.shadow & 1 != 0 {
            events.shadowed = save.rip;
        } else if events.shadowed != save.rip {
            events.shadowed = NOWHERE;
        }
        // Once more, so that no later exit takes itself for the step's end.
        events.eventful = events.shadowed != NOWHERE || events.step.ended;
        at_once
    }

    /// Fills EVENTINJ and V_IRQ, right before VMRUN. True if what waits can go in soon, and no exit will tell.
    #[inline(always)]
    pub fn prepare_entry<M: Machine>(&mut self, machine: &M) -> bool {
        let Vcpu {
            vmcb,
            events,
            quirks,
            ..
        } = self;
        if !events.busy {
            return false;
        }
        if core::mem::take(&mut events.stepping) {
            events.step.take_back(vmcb);
        }
        if !events.choose(vmcb, *quirks) {
            return false;
        }
        self.events.stepping = self.begin_step(machine);
        self.events.eventful |= self.events.stepping;
        !self.events.stepping
    }
}

impl Events {
    /// True if one instruction must be stepped over first.
    fn choose(&mut self, vmcb: &mut Vmcb, quirks: Quirks) -> bool {
        let shadow = self.in_shadow(vmcb);
        let Vmcb { control, save } = vmcb;
        let enabled = save.rflags & RFLAGS_IF != 0;
        let waits = self.offer.kind != Offer::NONE && !self.blocked_by_priority(control);
        let nmi = self.nmi_pending && !self.nmi_blocked;
        let waits_for_step = nmi || waits && enabled && quirks.loses_shadow;
        let step = self.first == 0 && (shadow && waits_for_step || self.stand_ins.any());
        if self.first != 0 {
            control.event = core::mem::take(&mut self.first);
        } else if nmi && !step {
            self.nmi_pending = false;
            self.nmi_blocked = true;
            control.intercepts1 |= intercept::IRET;
            control.event = event::VALID | event::NMI | 2;
        }
        self.eventful |= control.event != 0;
        control.vintr &= !(REQUEST | vintr::VECTOR);
        control.intercepts1 &= !intercept::VINTR;
        if waits && !step {
            control.vintr |= REQUEST | u64::from(self.offer.vector) << vintr::VECTOR_SHIFT;
            let external = self.offer.kind == Offer::EXTERNAL;
            if control.event != 0 || external && !enabled {
                control.intercepts1 |= intercept::VINTR;
            } else {
                self.asked = true;
                self.eventful = true;
                if quirks.delivers_again {
                    control.intercept_exceptions |= DELIVERY;
                }
                if external {
                    control.intercepts1 |= intercept::IRET;
                }
            }
        }
        self.busy = self.offer.kind != Offer::NONE || self.nmi_pending || self.stand_ins.any();
        step
    }
}
