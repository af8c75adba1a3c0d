//! Answers CPUID by masking the host's leaves.
//!
//! What the guest sees is the host's own answer, less what does not work inside Atoll, plus the interfaces of a hypervisor. The lists
//! are of what is allowed, so that a feature of a future CPU stays hidden until someone has thought about it. Bits are those of AMD APM
//! vol. 3, appendix E.
#![no_std]
#![forbid(unsafe_code)]

use atoll_protocol::interchange::CpuidState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{CpuidExit, Leaf, Machine};
use atoll_protocol::role::{Cpuid, CpuidRequest};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod extended;
mod hypervisor;
mod standard;
#[cfg(test)]
mod tests;

/// What the leaves depend on beside the host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Facts {
    /// Frequency of the time-stamp counter, in kHz.
    tsc_khz: u32,
    /// Virtual CPUs.
    vcpus: u32,
    /// Physical address bits.
    physical_bits: u32,
    /// Bits of an APIC id that number the CPUs of the package.
    apic_bits: u32,
    /// What the guest is shown, in the order of [`CpuidState::features`].
    features: [u32; 8],
}

/// The server.
#[derive(Debug)]
pub struct CpuidServer;

impl Server for CpuidServer {
    type Role = Cpuid;
    type State = Facts;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<Facts, Refuse> {
        let vcpus = machine.vcpus.max(1);
        Ok(Facts {
            tsc_khz: u32::try_from(machine.tsc_khz)
                .map_err(|_| Refuse::Machine("a time-stamp counter below 4 THz"))?,
            vcpus,
            physical_bits: machine.physical_bits,
            apic_bits: vcpus.next_power_of_two().trailing_zeros(),
            features: shown(&machine.features),
        })
    }

    fn export(facts: &Facts) -> Option<CpuidState> {
        Some(facts.shown())
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: CpuidState,
        force: bool,
    ) -> Result<Facts, Refuse> {
        let facts = Self::start(machine, setup)?;
        let missing = before.missing_in(&facts.shown());
        if missing == 0 || force {
            Ok(facts)
        } else {
            Err(Refuse::TakesAway(
                "features of its CPU that this model does not have",
            ))
        }
    }

    #[inline(always)]
    fn quick(
        vault: &mut Vault<'_, Self>,
        request: &CpuidRequest,
        effects: &mut Effects<'_, Cpuid>,
    ) -> Option<Leaf> {
        let CpuidRequest {
            leaf, host, cr4, ..
        } = *request;
        match leaf {
            0 => Some(Leaf {
                eax: host.eax.min(standard::LAST),
                ..host
            }),
            1 if cr4 & CpuidExit::APIC_OFF == 0 => {
                Some(standard::features(vault, host, cr4, effects.vcpu()))
            }
            leaf if leaf >> 16 == 0x4000 => Some(hypervisor::leaf(vault, leaf)),
            _ => None,
        }
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: &CpuidRequest,
        effects: &mut Effects<'_, Cpuid>,
    ) -> Leaf {
        let CpuidRequest {
            leaf,
            subleaf,
            host,
            cr4,
        } = *request;
        match leaf {
            1 => {
                let shown = standard::features(vault, host, cr4, effects.vcpu());
                Leaf {
                    edx: shown.edx & !standard::disabled(cr4),
                    ..shown
                }
            }
            0x8000_0001 => {
                let shown = extended::leaf(vault, leaf, host);
                Leaf {
                    edx: shown.edx & !standard::disabled(cr4),
                    ..shown
                }
            }
            leaf if leaf >> 16 == 0x8000 => extended::leaf(vault, leaf, host),
            2..=standard::LAST => standard::leaf(vault, leaf, subleaf, host, effects.vcpu()),
            _ => Self::quick(vault, request, effects).unwrap_or_default(),
        }
    }
}

impl Facts {
    /// The interfaces of a hypervisor: leaves from 0x40000000.
    #[must_use]
    pub fn hypervisor(&self, leaf: u32) -> Leaf {
        hypervisor::leaf(self, leaf)
    }

    /// What the guest may rely on.
    #[must_use]
    pub fn shown(&self) -> CpuidState {
        CpuidState {
            features: self.features,
            physical_bits: self.physical_bits,
        }
    }

    /// Bits of EDX in leaf 1 that are clear as things stand.
    #[must_use]
    pub fn disabled(request: &CpuidRequest) -> u32 {
        standard::disabled(request.cr4)
    }

    /// Leaf 0x80000008.
    #[must_use]
    pub fn address_sizes(&self, host: Leaf) -> Leaf {
        extended::leaf(self, 0x8000_0008, host)
    }
}

/// What the guest is shown of the host's features.
fn shown(host: &[u32; 8]) -> [u32; 8] {
    let [
        ecx,
        edx,
        structured_ebx,
        structured_ecx,
        structured_edx,
        extended_ecx,
        extended_edx,
        states,
    ] = *host;
    let basic = standard::masked(Leaf {
        ecx,
        edx,
        ..Leaf::default()
    });
    let structured = standard::structured(Leaf {
        ebx: structured_ebx,
        ecx: structured_ecx,
        edx: structured_edx,
        eax: 0,
    });
    let extended = extended::masked(Leaf {
        ecx: extended_ecx,
        edx: extended_edx,
        ..Leaf::default()
    });
    let states = states & standard::STATES;
    [
        basic.ecx,
        basic.edx,
        structured.ebx,
        structured.ecx,
        structured.edx,
        extended.ecx,
        extended.edx,
        states,
    ]
}
