//! What comes often and concerns one controller alone: reads, the task priority, ends of interrupts, the deadline, and an acknowledge
//! that leaves no trace. Each does only its own; the full way must answer the same.
//!
//! Between two messages, what is on offer is what should be: every answer ends with that. So whatever changes nothing about the pending
//! vectors has nothing to offer. A V_TPR that is not the one last seen is left to the full way.

use atoll_protocol::effect::Offer;
use atoll_protocol::message::MmioExit;
use atoll_protocol::role::{
    Irqchip, IrqchipEffect, IrqchipEvent, IrqchipReply, IrqchipRequest, PortRequest,
};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::lapic::registers::number;
use crate::lapic::x2apic::FIRST_MSR;
use crate::{IrqchipServer, TSC_DEADLINE, offer, place};

/// MSR: end of interrupt in x2APIC mode.
const X2APIC_EOI: u32 = FIRST_MSR + number::EOI as u32;

/// Answers a request, or leaves it.
#[inline(always)]
pub(crate) fn answer(
    vault: &mut Vault<'_, IrqchipServer>,
    request: IrqchipRequest<'_>,
    effects: &mut Effects<'_, Irqchip>,
) -> Option<IrqchipReply> {
    let lapic = &vault.lapics[place(effects.vcpu())];
    if !lapic.live.priority_stands(effects.task_priority()) {
        return None;
    }
    match request {
        IrqchipRequest::Port(PortRequest {
            port,
            size: 1,
            write: None,
        }) => vault
            .pics
            .peek(port)
            .map(|value| IrqchipReply::Value(u64::from(value))),
        IrqchipRequest::Port(_) => None,
        IrqchipRequest::Load(exit) => {
            let register = register(exit, lapic.registers.base)?;
            Some(IrqchipReply::Value(u64::from(lapic.plain(register)?)))
        }
        IrqchipRequest::Store(exit) => match register(exit, lapic.registers.base)? {
            number::TPR => set_priority(vault, exit.value as u8, effects),
            number::EOI => end_of_interrupt(vault, effects),
            _ => None,
        },
        IrqchipRequest::WriteMsr(exit) if exit.index == TSC_DEADLINE => {
            set_deadline(vault, exit.value, effects)
        }
        IrqchipRequest::WriteMsr(exit)
            if exit.index == X2APIC_EOI && exit.value == 0 && lapic.registers.extended() =>
        {
            end_of_interrupt(vault, effects)
        }
        IrqchipRequest::ReadMsr(_) | IrqchipRequest::WriteMsr(_) => None,
    }
}

/// The number of the local APIC's register that an aligned access of four bytes is to.
#[inline(always)]
fn register(exit: &MmioExit, base: u64) -> Option<u8> {
    (exit.size == 4 && crate::lapic::base::is_register(base, exit.gpa.0))
        .then_some((exit.gpa.0 >> 4) as u8)
}

/// The task priority is set within its class: the kernel need not know.
#[inline(always)]
fn set_priority(
    vault: &mut Vault<'_, IrqchipServer>,
    value: u8,
    effects: &Effects<'_, Irqchip>,
) -> Option<IrqchipReply> {
    let vcpu = effects.vcpu();
    let before = vault.lapics[place(vcpu)].live.tpr;
    if (before ^ value) >> 4 != 0 {
        return None;
    }
    if before != value {
        *vault.at(|state| &mut state.lapics[place(vcpu)].live.tpr) = value;
    }
    Some(IrqchipReply::Done)
}

/// The highest service ends, unless the I/O APIC has to hear of it.
#[inline(always)]
fn end_of_interrupt(
    vault: &mut Vault<'_, IrqchipServer>,
    effects: &mut Effects<'_, Irqchip>,
) -> Option<IrqchipReply> {
    let vcpu = effects.vcpu();
    let live = &vault.lapics[place(vcpu)].live;
    let vector = live.isr.highest();
    if vector != 0 {
        if live.tmr.contains(vector) {
            return None;
        }
        vault
            .at(|state| &mut state.lapics[place(vcpu)].live.isr)
            .remove(vector);
        offer::offer_own(vault, vcpu, effects);
    }
    Some(IrqchipReply::Done)
}

/// The deadline is set anew.
#[inline(always)]
fn set_deadline(
    vault: &mut Vault<'_, IrqchipServer>,
    value: u64,
    effects: &mut Effects<'_, Irqchip>,
) -> Option<IrqchipReply> {
    let vcpu = effects.vcpu();
    let live = &vault.lapics[place(vcpu)].live;
    if !live.by_deadline() || value == 0 || value == live.deadline {
        return None;
    }
    *vault.at(|state| &mut state.lapics[place(vcpu)].live.deadline) = value;
    effects.emit(IrqchipEffect::Arm(TimerId::nth(vcpu), Ticks(value)));
    Some(IrqchipReply::Done)
}

/// Takes notice of an acceptance, if the 8259s ask for the same again: then nothing has changed but that the offer is to be repeated.
#[inline(always)]
pub(crate) fn event(
    vault: &mut Vault<'_, IrqchipServer>,
    event: IrqchipEvent,
    effects: &mut Effects<'_, Irqchip>,
) -> bool {
    let vcpu = effects.vcpu();
    let live = &vault.lapics[place(vcpu)].live;
    let external =
        matches!(event, IrqchipEvent::Accepted(_)) && live.offered.kind == Offer::EXTERNAL;
    if !external
        || !live.priority_stands(effects.task_priority())
        || !vault.pics.asks_again(live.offered.vector)
    {
        return false;
    }
    debug_assert_eq!(
        offer::next(vault, vcpu),
        live.offered,
        "not what should be on offer"
    );
    effects.emit(IrqchipEffect::Offer(Offer {
        vcpu,
        vector: live.offered.vector,
        kind: Offer::EXTERNAL,
        nmi: 0,
    }));
    true
}
