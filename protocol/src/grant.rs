//! Rights: what the kernel checks every effect against. A server has none but what the supervisor gave it.

use serde::{Deserialize, Serialize};

use crate::units::{HostIrq, LineId, ServerId};

/// Fixed limits of a server, set when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Limits {
    /// 64-byte lines of its vault.
    pub vault_lines: u16,
    /// Pages of its stack.
    pub stack_pages: u16,
    /// Longest activation, in microseconds.
    pub budget_us: u32,
    /// Most run time per 100 ms period, in microseconds.
    pub period_us: u32,
    /// Timers.
    pub timers: u8,
}

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Grant {
    /// Host ports `first ..= last`, for the port effects.
    HostPorts(u16, u16),
    /// A host interrupt, delivered as a message.
    HostIrq(HostIrq),
    /// An interrupt line of the machine to drive.
    Line(LineId),
    /// Mail to a server, with this many undelivered at most.
    Mail(ServerId, u8),
    /// Guest memory, mapped read-only into the server.
    GuestRead,
    /// `GuestWrite`, `GuestCas`.
    GuestWrite,
    /// The bundle, mapped read-only; with `GuestWrite` also `GuestCopy`.
    Bundle,
}

/// A class of exits and events, sent to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Route {
    /// CPUID.
    Cpuid,
    /// VMMCALL.
    Hypercall,
    /// RDMSR and WRMSR that no other route claims.
    OtherMsrs,
    /// RDMSR and WRMSR of `first ..= last`.
    Msrs(u32, u32),
    /// Ports `first ..= last`.
    Ports(u16, u16),
    /// Device memory `first ..= last`, by guest-physical address.
    Memory(u64, u64),
    /// Nested faults, string I/O and instructions to decode.
    Mmu,
    /// Interrupt lines.
    Lines,
}

impl Route {
    /// Whether two servers cannot have both.
    #[must_use]
    pub fn overlaps(self, other: Route) -> bool {
        match (self, other) {
            (Route::Ports(a, b), Route::Ports(c, d)) => a <= d && c <= b,
            (Route::Msrs(a, b), Route::Msrs(c, d)) => a <= d && c <= b,
            (Route::Memory(a, b), Route::Memory(c, d)) => a <= d && c <= b,
            (Route::Ports(..) | Route::Msrs(..) | Route::Memory(..), _) => false,
            (one, other) => one == other,
        }
    }
}
