//! Who is on the machine: one server of each role, with the rights it has in a real one, and the answers by which the supervisor
//! makes them.

use atoll_protocol::effect::{Effect, Segment, Supervise};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::layout::IMAGE;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, LineId, ServerId};

pub(crate) const SUPERVISOR: ServerId = ServerId::SUPERVISOR;
pub(crate) const LOADER: ServerId = ServerId::nth(1);
pub(crate) const CPUID: ServerId = ServerId::nth(2);
pub(crate) const MSR: ServerId = ServerId::nth(3);
pub(crate) const HYPERCALL: ServerId = ServerId::nth(4);
pub(crate) const MMU: ServerId = ServerId::nth(5);
pub(crate) const IRQCHIP: ServerId = ServerId::nth(6);
pub(crate) const TIMER: ServerId = ServerId::nth(7);
pub(crate) const CLOCK: ServerId = ServerId::nth(8);
pub(crate) const POWER: ServerId = ServerId::nth(9);
pub(crate) const SERIAL: ServerId = ServerId::nth(10);
pub(crate) const CONSOLE: ServerId = ServerId::nth(11);
pub(crate) const CONTROL: ServerId = ServerId::nth(12);
/// The first slot that is free.
pub(crate) const FREE: ServerId = ServerId::nth(13);

/// Bytes of guest memory.
pub(crate) const MEMORY: u64 = 2 << 20;
/// Port of the console's device.
pub(crate) const COM1: u16 = 0x3f8;
/// The irqchip's device memory.
pub(crate) const LAPIC: u64 = 0xfee0_0000;

/// What each server but the supervisor may do.
pub(crate) const LIMITS: Limits = Limits {
    vault_lines: 8,
    stack_pages: 2,
    budget_us: 60_000,
    period_us: 50_000,
    timers: 2,
};

/// A server of the cast.
pub(crate) struct Member {
    pub(crate) id: ServerId,
    pub(crate) role: RoleKind,
    pub(crate) grants: &'static [Grant],
    pub(crate) routes: &'static [Route],
}

/// All but the supervisor, in the order in which they are made.
pub(crate) const CAST: [Member; 12] = [
    Member {
        id: LOADER,
        role: RoleKind::Loader,
        grants: &[Grant::GuestWrite, Grant::GuestRead, Grant::Bundle],
        routes: &[],
    },
    Member {
        id: CPUID,
        role: RoleKind::Cpuid,
        grants: &[],
        routes: &[Route::Cpuid],
    },
    Member {
        id: MSR,
        role: RoleKind::Msr,
        grants: &[Grant::GuestWrite],
        routes: &[Route::OtherMsrs],
    },
    Member {
        id: HYPERCALL,
        role: RoleKind::Hypercall,
        grants: &[],
        routes: &[Route::Hypercall],
    },
    Member {
        id: MMU,
        role: RoleKind::Mmu,
        grants: &[Grant::GuestRead, Grant::GuestWrite],
        routes: &[Route::Mmu],
    },
    Member {
        id: IRQCHIP,
        role: RoleKind::Irqchip,
        grants: &[],
        routes: &[
            Route::Lines,
            Route::Ports(0x20, 0x21),
            Route::Memory(LAPIC, LAPIC + 0xfff),
            Route::Memory(0xfec0_0000, 0xfec0_0fff),
            Route::Msrs(0x800, 0x8ff),
        ],
    },
    Member {
        id: TIMER,
        role: RoleKind::Timer,
        grants: &[Grant::Line(LineId::nth(0))],
        routes: &[Route::Ports(0x40, 0x43)],
    },
    Member {
        id: CLOCK,
        role: RoleKind::Clock,
        grants: &[Grant::Line(LineId::nth(8))],
        routes: &[Route::Ports(0x70, 0x71)],
    },
    Member {
        id: POWER,
        role: RoleKind::Power,
        grants: &[Grant::Line(LineId::nth(9))],
        routes: &[Route::Ports(0x600, 0x60f)],
    },
    Member {
        id: SERIAL,
        role: RoleKind::Serial,
        grants: &[Grant::Line(LineId::nth(4)), Grant::Mail(CONSOLE, 4)],
        routes: &[Route::Ports(COM1, COM1 + 7)],
    },
    Member {
        id: CONSOLE,
        role: RoleKind::Console,
        grants: &[
            Grant::HostPorts(COM1, COM1 + 7),
            Grant::HostIrq(HostIrq::nth(4)),
            Grant::Mail(SERIAL, 4),
        ],
        routes: &[],
    },
    Member {
        id: CONTROL,
        role: RoleKind::Control,
        grants: &[
            Grant::HostPorts(0x2f8, 0x2ff),
            Grant::HostIrq(HostIrq::nth(3)),
            Grant::Mail(SUPERVISOR, 2),
        ],
        routes: &[],
    },
];

/// One page of the image: where its code is.
pub(crate) const TEXT: Segment = Segment {
    address: IMAGE,
    offset: 0,
    file: 0x1000,
    memory: 0x1000,
    access: Segment::EXECUTE,
};

/// The effects that make one member.
pub(crate) fn making(member: &Member) -> Vec<Effect<'static>> {
    let id = member.id;
    let limits = match id {
        // One whose activations may take less than its period.
        CLOCK => Limits {
            budget_us: 1000,
            ..LIMITS
        },
        // Those that may use all of a period, as most do.
        TIMER | POWER => Limits {
            period_us: 100_000,
            ..LIMITS
        },
        _ => LIMITS,
    };
    let mut effects = vec![
        Supervise::Create(id, member.role, limits, member.role.name(), "original"),
        Supervise::Segment(id, Fixed(TEXT)),
    ];
    effects.extend(
        member
            .grants
            .iter()
            .map(|grant| Supervise::Grant(id, *grant)),
    );
    effects.push(Supervise::Start(id, Fixed(IMAGE), b"configuration"));
    effects.extend(
        member
            .routes
            .iter()
            .map(|route| Supervise::Route(id, *route)),
    );
    effects.into_iter().map(Effect::Supervise).collect()
}
