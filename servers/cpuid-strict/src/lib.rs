//! Answers CPUID with a fixed minimal model: the baseline of x86-64, whatever the host has, so that a guest behaves alike everywhere.
//!
//! Of the host it shows what is no feature: vendor, family, brand, address sizes. The interfaces of a hypervisor are those of
//! [`atoll_cpuid`]. It does not take the place of a server that has shown the guest more, unless it is forced.
#![no_std]
#![forbid(unsafe_code)]

use atoll_cpuid::{CpuidServer, Facts};
use atoll_protocol::interchange::CpuidState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Leaf, Machine};
use atoll_protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(test)]
mod tests;

/// Leaf 1 ECX: SSE3, CX16, x2APIC, TSC deadline, hypervisor.
const ECX: u32 = 1 | 1 << 13 | 1 << 21 | 1 << 24 | 1 << 31;
/// Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, APIC, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
const EDX: u32 = 0x078b_bb7f;
/// Leaf 0x80000001 ECX: LAHF in long mode.
const EXTENDED_ECX: u32 = 1;
/// Leaf 0x80000001 EDX: SYSCALL, NX, long mode.
const EXTENDED_EDX: u32 = 1 << 11 | 1 << 20 | 1 << 29;
/// Highest leaves.
const LAST: u32 = 7;
const LAST_EXTENDED: u32 = 0x8000_0008;

/// What survives: who owns the other leaves, and what the guest is shown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Model {
    /// What the guest is shown, in the order of [`CpuidState::features`]: of the model, what the host has.
    features: [u32; 8],
    /// For the interfaces of a hypervisor.
    facts: Facts,
}

impl Model {
    fn shown(&self) -> CpuidState {
        CpuidState {
            features: self.features,
            ..self.facts.shown()
        }
    }
}

/// The server.
#[derive(Debug)]
pub struct StrictServer;

impl Server for StrictServer {
    type Role = Cpuid;
    type State = Model;
    type Cache = ();

    fn start(machine: &Machine, setup: &Setup<'_>) -> Result<Model, Refuse> {
        let facts = CpuidServer::start(machine, setup)?;
        let model = [ECX, EDX, 0, 0, 0, EXTENDED_ECX, EXTENDED_EDX, 0];
        let shown = facts.shown().features;
        let mut features = model;
        features
            .iter_mut()
            .zip(shown)
            .for_each(|(mine, its)| *mine &= its);
        Ok(Model { features, facts })
    }

    fn export(model: &Model) -> Option<CpuidState> {
        Some(model.shown())
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: CpuidState,
        force: bool,
    ) -> Result<Model, Refuse> {
        let model = Self::start(machine, setup)?;
        let missing = before.missing_in(&model.shown());
        if missing == 0 || force {
            Ok(model)
        } else {
            Err(Refuse::TakesAway(
                "features of its CPU that this model does not have",
            ))
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: &CpuidRequest,
        effects: &mut Effects<'_, Cpuid>,
    ) -> Leaf {
        let host = request.host;
        let [ecx, edx, _, _, _, extended_ecx, extended_edx, _] = vault.features;
        match request.leaf {
            0 => Leaf { eax: LAST, ..host },
            1 => Leaf {
                eax: host.eax,
                ebx: host.ebx & 0xff00 | 1 << 16 | u32::from(effects.vcpu()) << 24,
                ecx,
                edx: edx & !Facts::disabled(request),
            },
            leaf if leaf >> 16 == 0x4000 => vault.facts.hypervisor(leaf),
            0x8000_0000 => Leaf {
                eax: LAST_EXTENDED,
                ..host
            },
            0x8000_0001 => Leaf {
                eax: host.eax,
                ebx: 0,
                ecx: extended_ecx,
                edx: extended_edx,
            },
            0x8000_0002..=0x8000_0006 => host,
            0x8000_0008 => vault.facts.address_sizes(host),
            _ => Leaf::default(),
        }
    }
}
