//! Which right may go to which role: a manifest that grants more than a role can express is a mistake, told before anything starts.

use atoll_protocol::role::RoleKind;

/// A kind of right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// CPUID exits.
    ExitCpuid,
    /// VMMCALL exits.
    ExitHypercall,
    /// MSR exits that nobody else claims.
    ExitMsrs,
    /// Nested faults and instructions to decode.
    ExitMmu,
    /// Interrupt lines.
    ExitLines,
    /// Ports of the guest.
    Ports,
    /// MSRs by number.
    Msrs,
    /// Device memory.
    Memory,
    /// Ports and interrupts of the host.
    Host,
    /// Driving interrupt lines.
    Raises,
    /// Mail.
    Mail,
    /// Reading guest memory.
    GuestRead,
    /// Writing guest memory.
    GuestWrite,
    /// The bundle.
    Bundle,
    /// Timers.
    Timers,
}

impl Right {
    /// Whether servers of `role` may have it.
    #[must_use]
    pub fn fits(self, role: RoleKind) -> bool {
        use RoleKind as R;
        let roles: &[RoleKind] = match self {
            Self::ExitCpuid => &[R::Cpuid],
            Self::ExitHypercall => &[R::Hypercall],
            Self::ExitMsrs => &[R::Msr],
            Self::ExitMmu => &[R::Mmu],
            Self::ExitLines => &[R::Irqchip],
            Self::Ports => &[R::Irqchip, R::Timer, R::Clock, R::Power, R::Serial],
            Self::Msrs => &[R::Irqchip, R::Msr],
            Self::Memory => &[R::Irqchip],
            Self::Host => &[R::Console, R::Control],
            Self::Raises => &[R::Timer, R::Clock, R::Power, R::Serial],
            Self::Mail => &[R::Serial, R::Console, R::Control],
            Self::GuestRead => &[R::Loader, R::Mmu, R::Msr, R::Hypercall],
            Self::GuestWrite => &[R::Loader, R::Mmu, R::Msr],
            Self::Bundle => &[R::Loader],
            Self::Timers => &[
                R::Irqchip,
                R::Timer,
                R::Clock,
                R::Power,
                R::Serial,
                R::Console,
                R::Control,
            ],
        };
        roles.contains(&role)
    }

    /// The class of exits with this name.
    #[must_use]
    pub fn exit(name: &str) -> Option<Self> {
        Some(match name {
            "cpuid" => Self::ExitCpuid,
            "hypercall" => Self::ExitHypercall,
            "msrs" => Self::ExitMsrs,
            "mmu" => Self::ExitMmu,
            "lines" => Self::ExitLines,
            _ => return None,
        })
    }
}

/// Whether a machine has at most one server of `role`.
#[must_use]
pub fn unique(role: RoleKind) -> bool {
    !matches!(role, RoleKind::Timer | RoleKind::Clock | RoleKind::Serial)
}
