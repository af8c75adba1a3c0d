//! What the kernel is told: the one interrupt that a vCPU should take next, and only when that changes.

use atoll_protocol::effect::Offer;
use atoll_protocol::role::{Irqchip, IrqchipEffect};
use atoll_sdk::{Effects, Vault};

use crate::lapic::{Live, Offered};
use crate::{IrqchipServer, State, place};

/// Notes the V_TPR that the message carries.
#[inline(always)]
pub(crate) fn see_priority(vault: &mut Vault<'_, IrqchipServer>, effects: &Effects<'_, Irqchip>) {
    let (vcpu, cr8) = (effects.vcpu(), effects.task_priority());
    if !vault.lapics[place(vcpu)].live.priority_stands(cr8) {
        live(vault, vcpu).see_priority(cr8);
    }
}

/// A vCPU has taken what was on offer; the kernel has forgotten the offer.
#[inline(always)]
pub(crate) fn accepted(vault: &mut Vault<'_, IrqchipServer>, vcpu: u8, vector: u8) {
    let live = live(vault, vcpu);
    let offered = core::mem::replace(&mut live.offered, Offered::NONE);
    match offered.kind {
        Offer::FIXED => live.accept(vector),
        Offer::EXTERNAL => acknowledge(vault),
        _ => {}
    }
}

#[inline(never)]
fn acknowledge(vault: &mut Vault<'_, IrqchipServer>) {
    vault.at(|state| &mut state.pics).acknowledge();
}

/// Offers a vCPU what it should take next, if that is not on offer already.
#[inline(always)]
pub(crate) fn offer(
    vault: &mut Vault<'_, IrqchipServer>,
    vcpu: u8,
    effects: &mut Effects<'_, Irqchip>,
) {
    let next = next(vault, vcpu);
    let live = &vault.lapics[place(vcpu)].live;
    if next != live.offered || live.nmi != 0 {
        tell(vault, vcpu, next, effects);
    }
}

/// The same where nothing but the local APIC's own requests and services can have changed: what the 8259s have on offer stays there.
#[inline(always)]
pub(crate) fn offer_own(
    vault: &mut Vault<'_, IrqchipServer>,
    vcpu: u8,
    effects: &mut Effects<'_, Irqchip>,
) {
    let live = &vault.lapics[place(vcpu)].live;
    let next = live.next();
    if live.offered.kind != Offer::EXTERNAL && next != live.offered {
        tell(vault, vcpu, next, effects);
    }
}

/// What a vCPU should take next. The 8259s go first: their request is not subject to the task priority.
#[inline(always)]
pub(crate) fn next(state: &State, vcpu: u8) -> Offered {
    let live = &state.lapics[place(vcpu)].live;
    let external = live.wired != 0 && state.pics.output != 0;
    if external {
        Offered::external(state.pics.vector())
    } else {
        live.next()
    }
}

#[inline(always)]
fn tell(
    vault: &mut Vault<'_, IrqchipServer>,
    vcpu: u8,
    next: Offered,
    effects: &mut Effects<'_, Irqchip>,
) {
    let live = live(vault, vcpu);
    live.offered = next;
    let nmi = core::mem::take(&mut live.nmi);
    effects.emit(IrqchipEffect::Offer(Offer {
        vcpu,
        vector: next.vector,
        kind: next.kind,
        nmi,
    }));
}

/// Write access to what changes with each interrupt.
#[inline(always)]
pub(crate) fn live<'a>(vault: &'a mut Vault<'_, IrqchipServer>, vcpu: u8) -> &'a mut Live {
    vault.at(|state| &mut state.lapics[place(vcpu)].live)
}
