//! An access to what is not RAM: decoded, and forwarded to whichever device owns the address.
//!
//! A plain load or store costs one activation: the kernel puts the value into the register and moves RIP. The nested fault names the
//! address, so that no register is needed to compute it. (An access that crosses from RAM into a device, or across two devices' pages, is
//! forwarded whole at the address that faulted.)

use atoll_protocol::effect::Forward;
use atoll_protocol::message::{AccessDone, NestedFault};
use atoll_protocol::role::{Mmu, MmuEffect, MmuReply};
use atoll_protocol::vcpu::{Context, Exception, Registers};
use atoll_sdk::{Effects, Vault};

use crate::MmuNpt;
use crate::mode::next_rip;
use crate::plan::{Action, Binary, BitTest, Plan, Source};
use crate::token::{Stage, pack, unpack};
use crate::{execute, modify, port, report, strings};

/// Error code of a nested fault: a store.
const WRITE: u64 = 1 << 1;
/// An instruction fetch.
const FETCH: u64 = 1 << 4;
/// A walk of the guest's page tables (APM vol. 2 §15.25.6).
const TABLE_WALK: u64 = 1 << 33;

/// The bits of an error code that decide how a fault outside RAM is answered.
pub(crate) const DECISIVE: u64 = WRITE | FETCH | TABLE_WALK;

/// An access to device memory, of which nothing is said yet.
pub(crate) const NOTHING: Forward = Forward {
    address: 0,
    value: 0,
    rip_or_token: 0,
    count: 1,
    space: Forward::MMIO,
    write: 0,
    size: 0,
    source: 0,
    finish: 0,
    register: 0,
    width: 0,
    sign: 0,
    reserved: 0,
};

/// Answers a nested fault outside RAM.
pub(crate) fn access(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    fault: &NestedFault,
    context: &Context,
    registers: Option<&Registers>,
) -> MmuReply {
    if fault.error & (FETCH | TABLE_WALK) != 0 {
        return outside(vault, effects, fault, context);
    }
    let bits = vault.physical_bits;
    let plan = match vault.cache.plan(context, effects.guest(), bits) {
        Ok(plan) => plan,
        Err(why) => return report::no_plan(vault, effects, context, why),
    };
    match plain(&plan, context) {
        Some((error, forward)) if fault.error & DECISIVE == error => {
            effects.emit(MmuEffect::Forward(
                Forward {
                    address: fault.gpa.0,
                    ..forward
                },
                &[],
            ));
            MmuReply::Forwarded
        }
        _ => other(vault, effects, fault, context, registers, &plan),
    }
}

/// A plain load or store: the error code, of the bits that decide, of the fault that it makes, and the access but for its address.
pub(crate) fn plain(plan: &Plan, context: &Context) -> Option<(u64, Forward)> {
    let rip_or_token = next_rip(context, plan.length);
    match plan.action {
        Action::Load {
            register,
            size,
            width,
            sign,
        } => Some((
            0,
            Forward {
                rip_or_token,
                size,
                finish: Forward::LOAD,
                register,
                width,
                sign,
                ..NOTHING
            },
        )),
        Action::Store {
            source: Source {
                register: source,
                value,
            },
            size,
        } => Some((
            WRITE,
            Forward {
                rip_or_token,
                value,
                write: 1,
                size,
                source,
                finish: Forward::STORE,
                ..NOTHING
            },
        )),
        _ => None,
    }
}

/// Code or page tables in what is not RAM: real hardware would raise a machine check or execute garbage; the guest gets #GP(0).
#[cold]
#[inline(never)]
fn outside(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    fault: &NestedFault,
    context: &Context,
) -> MmuReply {
    let what = if fault.error & FETCH != 0 {
        "is fetched from outside RAM"
    } else {
        "has page tables outside RAM"
    };
    report::refuse(vault, effects, context, what, Exception::PROTECTION)
}

/// What is neither a load nor a store.
#[cold]
#[inline(never)]
fn other(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    fault: &NestedFault,
    context: &Context,
    registers: Option<&Registers>,
    plan: &Plan,
) -> MmuReply {
    let write = fault.error & WRITE != 0;
    let size = match plan.action {
        // These never write: a write fault is from something else, such as a stack in device memory.
        Action::ToMemory {
            operation: Binary::Compare | Binary::Test,
            size,
            ..
        } if !write => size,
        Action::ToRegister { size, .. } if !write => size,
        Action::Bit {
            operation: BitTest::Test,
            size,
            ..
        } if !write => size,
        Action::ToMemory {
            operation: Binary::Compare | Binary::Test,
            ..
        }
        | Action::ToRegister { .. }
        | Action::Bit {
            operation: BitTest::Test,
            ..
        } => return report::unsupported(vault, effects, context),
        Action::ToMemory { size, .. }
        | Action::InPlace { size, .. }
        | Action::Exchange { size, .. }
        | Action::CompareExchange { size, .. }
        | Action::ExchangeAdd { size, .. }
        | Action::Bit { size, .. } => size,
        Action::StoreString { .. }
        | Action::LoadString { .. }
        | Action::MoveString { .. }
        | Action::CompareString { .. }
        | Action::ScanString { .. } => {
            return strings::start(vault, effects, fault.gpa.0, write, context, registers, plan);
        }
        Action::Execute { .. } => {
            return execute::start(vault, effects, fault.gpa.0, write, context, plan);
        }
        _ => return report::unsupported(vault, effects, context),
    };
    read(effects, fault.gpa.0, size, pack(Stage::Modify, fault.gpa.0))
}

/// Forwards a load whose value comes back with `token`.
pub(crate) fn read(effects: &mut Effects<'_, Mmu>, gpa: u64, size: u8, token: u64) -> MmuReply {
    let finish = Forward::RETURN;
    let forward = Forward {
        address: gpa,
        count: 1,
        space: Forward::MMIO,
        size,
        finish,
        rip_or_token: token,
        ..Forward::default()
    };
    effects.emit(MmuEffect::Forward(forward, &[]));
    MmuReply::Forwarded
}

/// Forwards a store of `value`, after which the guest goes on at `rip`.
pub(crate) fn write(
    effects: &mut Effects<'_, Mmu>,
    gpa: u64,
    size: u8,
    value: u64,
    rip: u64,
) -> MmuReply {
    let forward = Forward {
        address: gpa,
        value,
        rip_or_token: rip,
        count: 1,
        space: Forward::MMIO,
        write: 1,
        size,
        source: Forward::IMMEDIATE,
        finish: Forward::STORE,
        ..Forward::default()
    };
    effects.emit(MmuEffect::Forward(forward, &[]));
    MmuReply::Forwarded
}

/// Goes on with an instruction whose device access is done.
#[cold]
#[inline(never)]
pub(crate) fn done(
    vault: &mut Vault<'_, MmuNpt>,
    effects: &mut Effects<'_, Mmu>,
    done: &AccessDone,
    context: &Context,
    registers: &Registers,
    bytes: &[u8],
) -> MmuReply {
    let stage = unpack(done.token);
    // The guest may be behind the instruction by now.
    match stage {
        Some((Stage::Fetch, which)) => return execute::fetched(vault, effects, which, done.value),
        Some((Stage::Executed, _)) => return execute::executed(vault, effects, done.value != 0),
        Some((Stage::Store, which)) => return execute::stored(vault, effects, which),
        _ => {}
    }
    let bits = vault.physical_bits;
    let plan = match vault.cache.plan(context, effects.guest(), bits) {
        Ok(plan) => plan,
        Err(why) => return report::no_plan(vault, effects, context, why),
    };
    match stage {
        Some((Stage::Modify, gpa)) => {
            modify::finish(effects, context, registers, &plan, gpa, done.value)
        }
        Some((Stage::Move, _)) => {
            strings::moved(vault, effects, context, registers, &plan, done.value)
        }
        Some((Stage::Compare, gpa)) => {
            strings::compared(vault, effects, context, registers, &plan, gpa, done.value)
        }
        Some((Stage::Scan, _)) => strings::scanned(effects, context, registers, &plan, done.value),
        Some((Stage::In, count)) => {
            // A chunk of one element is a plain read of the port, and comes as a value.
            let value = done.value.to_le_bytes();
            let bytes = if bytes.is_empty() { &value } else { bytes };
            port::read(vault, effects, context, registers, &plan, count, bytes)
        }
        Some((Stage::OutFrom, _)) => port::fetched(effects, registers, &plan, done.value),
        Some((Stage::Out, count)) => port::written(effects, context, registers, &plan, count),
        Some((Stage::Fetch | Stage::Executed | Stage::Store, _)) | None => MmuReply::Resume,
    }
}
