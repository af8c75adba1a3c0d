//! Every kind of effect without its right, or with values that make no sense, by a server of each role: refused, for its own reason.

use atoll_protocol::effect::{
    Effect, Fifo, Forward, GuestCas, GuestCopy, Mapping, Offer, Query, Signal, Supervise,
};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::layout::{GAP_END, GAP_START, IMAGE};
use atoll_protocol::message::Stop;
use atoll_protocol::units::{Gpa, LineId, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{Exception, SystemRegister};
use zerocopy::IntoBytes;

use crate::cast::{COM1, CONSOLE, CPUID, IRQCHIP, LOADER, MEMORY, MMU, MSR, POWER, SERIAL};
use crate::exits::Exit;
use crate::script::{LEAF, initial};
use crate::world::World;

pub(crate) const FIFO: Fifo = Fifo {
    status: COM1 + 5,
    mask: 0x20,
    data: COM1,
    burst: 1,
};

/// `server` answers `exit` with `effect` and what completes the ticket: it is refused, and nothing has happened.
fn refused(server: ServerId, exit: Exit, effect: Effect<'_>, complete: Effect<'_>, reason: Reason) {
    let mut world = World::booted();
    world.on(server, &[effect, complete]);
    let (before, after) = world.around(exit);
    assert_eq!(before, after, "{effect:?}");
    world.assert_fault(server, reason);
}

/// By the emulator, at a nested fault.
fn emulator(effect: Effect<'_>, reason: Reason) {
    refused(MMU, Exit::Fault(0x5000), effect, Effect::Resume, reason);
}

/// By the CPUID server, which may do nothing.
fn cpuid(effect: Effect<'_>, reason: Reason) {
    refused(
        CPUID,
        Exit::Cpuid(0),
        effect,
        Effect::Leaf(Fixed(LEAF)),
        reason,
    );
}

fn page(gpa: u64) -> Mapping {
    Mapping {
        gpa: Gpa(gpa),
        size: Mapping::SMALL,
        access: 1,
    }
}

#[test]
fn a_server_without_rights_can_do_none_of_it() {
    let cas = GuestCas {
        gpa: Gpa(0),
        old: 0,
        new: 0,
        size: 8,
    };
    let ungranted = [
        Effect::GuestWrite(Fixed(Gpa(0)), b"x"),
        Effect::GuestCas(Fixed(cas)),
        Effect::GuestCopy(Fixed(GuestCopy {
            gpa: Gpa(0),
            offset: 0,
            length: 1,
        })),
        Effect::Line(LineId::nth(4), Signal::Raise),
        Effect::PortOut(COM1, 1, 0),
        Effect::PortIn(COM1, 1),
        Effect::Fill(FIFO, b"x"),
        Effect::Drain(FIFO, 1),
        Effect::Mail(CONSOLE, b"x"),
        Effect::Arm(TimerId::nth(2), Fixed(Ticks(0))),
        Effect::Disarm(TimerId::nth(3)),
    ];
    ungranted
        .into_iter()
        .for_each(|effect| cpuid(effect, Reason::NotGranted));
}

#[test]
fn what_belongs_to_another_role_is_refused() {
    let others = [
        Effect::Register(0, Fixed(0)),
        Effect::System(SystemRegister::Rip, Fixed(0)),
        Effect::Initial(0, &[]),
        Effect::Offer(Fixed(Offer::default())),
        Effect::Map(Fixed(page(0))),
        Effect::Unmap(Fixed(page(0))),
        Effect::Request(CONSOLE, 0, b"x"),
        Effect::Query(Query::Machine),
        Effect::Stop(Stop::PowerOff),
        Effect::Supervise(Supervise::Exit(0)),
        Effect::Supervise(Supervise::Run),
    ];
    others
        .into_iter()
        .for_each(|effect| cpuid(effect, Reason::WrongRole));
}

#[test]
fn an_msr_server_sets_only_the_registers_that_msrs_are() {
    let wrmsr = Exit::WriteMsr(0xc000_0080, 0x100);
    for register in [
        SystemRegister::Cr0,
        SystemRegister::Cr3,
        SystemRegister::Rip,
        SystemRegister::Rflags,
        SystemRegister::Xcr0,
    ] {
        refused(
            MSR,
            wrmsr,
            Effect::System(register, Fixed(1)),
            Effect::Done,
            Reason::WrongRole,
        );
    }
    let mut world = World::booted();
    world.on(
        MSR,
        &[
            Effect::System(SystemRegister::Efer, Fixed(0x100)),
            Effect::Done,
        ],
    );
    world.exit(wrmsr);
    world.assert_no_fault();
    let vcpu = &world.kernel.state.vcpu;
    assert_eq!(
        (vcpu.efer(), vcpu.vmcb.save.efer),
        (0x100, 0x1000),
        "SVME stays set, unseen, and LME waits for paging"
    );
}

#[test]
fn an_irqchip_sets_the_task_priority_and_no_other_register() {
    let store = Exit::Out(0x20, 1, 0);
    for register in [
        SystemRegister::Cr0,
        SystemRegister::Rip,
        SystemRegister::Rflags,
        SystemRegister::Efer,
    ] {
        refused(
            IRQCHIP,
            store,
            Effect::System(register, Fixed(1)),
            Effect::Done,
            Reason::WrongRole,
        );
    }
    refused(
        IRQCHIP,
        store,
        Effect::System(SystemRegister::TaskPriority, Fixed(16)),
        Effect::Done,
        Reason::BadValue,
    );
    let mut world = World::booted();
    world.on(
        IRQCHIP,
        &[
            Effect::System(SystemRegister::TaskPriority, Fixed(9)),
            Effect::Done,
        ],
    );
    world.exit(store);
    world.assert_no_fault();
    assert_eq!(world.kernel.state.vcpu.vmcb.control.vintr & 0xff, 9);
}

#[test]
fn a_compare_and_swap_of_what_the_answer_has_written_already_is_refused() {
    let cas = |gpa, size| {
        Effect::GuestCas(Fixed(GuestCas {
            gpa: Gpa(gpa),
            old: 0,
            new: 1,
            size,
        }))
    };
    let write = Effect::GuestWrite(Fixed(Gpa(0x8003)), b"x");
    for (first, second) in [
        (cas(0x8000, 8), cas(0x8000, 8)),
        (cas(0x8000, 8), cas(0x8004, 4)),
        (write, cas(0x8000, 4)),
    ] {
        let mut world = World::booted();
        world.on(MMU, &[first, second, Effect::Resume]);
        let (before, after) = world.around(Exit::Fault(0x5000));
        assert_eq!(before, after);
        world.assert_fault(MMU, Reason::BadValue);
    }
    for (first, second) in [
        (cas(0x8000, 8), cas(0x8008, 8)),
        (cas(0x8000, 8), write),
        (write, cas(0x8004, 4)),
    ] {
        let mut world = World::booted();
        world.on(MMU, &[first, second, Effect::Resume]);
        world.exit(Exit::Fault(0x5000));
        world.assert_no_fault();
    }
}

#[test]
fn a_power_server_switches_off_and_resets_but_does_not_crash_the_guest() {
    let out = Exit::Out(0x604, 2, 0x2000);
    for why in [Stop::Crash, Stop::Refused, Stop::ServerFault] {
        refused(
            POWER,
            out,
            Effect::Stop(why),
            Effect::Done,
            Reason::WrongRole,
        );
    }
    let mut world = World::booted();
    world.on(POWER, &[Effect::Stop(Stop::PowerOff), Effect::Done]);
    world.exit(out);
    assert_eq!(world.kernel.state.stopped, Some(Stop::PowerOff));
    world.assert_no_fault();
}

#[test]
fn memory_outside_the_guest_is_out_of_reach() {
    let cas = |gpa, size| GuestCas {
        gpa: Gpa(gpa),
        old: 0,
        new: 0,
        size,
    };
    for effect in [
        Effect::GuestWrite(Fixed(Gpa(MEMORY)), b"x"),
        Effect::GuestWrite(Fixed(Gpa(MEMORY - 1)), b"xy"),
        Effect::GuestWrite(Fixed(Gpa(u64::MAX)), b"xy"),
        Effect::GuestCas(Fixed(cas(MEMORY, 8))),
        Effect::Map(Fixed(page(MEMORY))),
        Effect::Unmap(Fixed(page(!0xfff))),
        Effect::Map(Fixed(Mapping {
            gpa: Gpa(MEMORY),
            size: Mapping::LARGE,
            access: 1,
        })),
    ] {
        emulator(effect, Reason::OutsideMemory);
    }
}

#[test]
fn a_write_across_the_devices_gap_is_refused_though_its_ends_are_memory() {
    let mut world = World::booted();
    world.kernel.state.machine.memory.size = 5 << 30;
    world.on(
        MMU,
        &[
            Effect::GuestWrite(Fixed(Gpa(GAP_END)), b"above"),
            Effect::Resume,
        ],
    );
    world.exit(Exit::Fault(0x5000));
    world.assert_no_fault();
    world.on(
        MMU,
        &[
            Effect::GuestWrite(Fixed(Gpa(GAP_START - 2)), b"into the gap"),
            Effect::Resume,
        ],
    );
    let (before, after) = world.around(Exit::Fault(0x5000));
    assert_eq!(before, after);
    world.assert_fault(MMU, Reason::OutsideMemory);
}

#[test]
fn vault_lines_outside_the_vault_are_refused() {
    for (first, count) in [(0, 0), (0, 9), (8, 1), (7, 2), (u16::MAX, u16::MAX)] {
        emulator(Effect::Save(first, count), Reason::OutsideVault);
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let cas = |gpa, size| {
        Effect::GuestCas(Fixed(GuestCas {
            gpa: Gpa(gpa),
            old: 0,
            new: 0,
            size,
        }))
    };
    let map = |gpa, size, access| {
        Effect::Map(Fixed(Mapping {
            gpa: Gpa(gpa),
            size,
            access,
        }))
    };
    for effect in [
        Effect::Register(16, Fixed(0)),
        cas(0, 0),
        cas(0, 3),
        cas(0, 16),
        cas(4, 8),
        map(0x800, Mapping::SMALL, 1),
        map(0x1000, Mapping::LARGE, 1),
        map(0, 0x4000_0000, 1),
        map(0, 0, 1),
        map(0, Mapping::SMALL, 4),
    ] {
        emulator(effect, Reason::BadValue);
    }
}

#[test]
fn an_exception_that_does_not_exist_is_refused() {
    for exception in [
        Exception {
            vector: 32,
            ..Exception::default()
        },
        Exception {
            vector: 255,
            ..Exception::default()
        },
        Exception {
            vector: 2,
            ..Exception::default()
        },
        Exception {
            vector: 13,
            has_error: 2,
            ..Exception::default()
        },
    ] {
        emulator(Effect::Exception(Fixed(exception)), Reason::BadValue);
    }
}

#[test]
fn extended_states_that_the_processor_does_not_have_are_refused() {
    for xcr0 in [0, 2, 5, 6, 8, 0x18, 1 << 9 | 1, 1 << 63 | 7, u64::MAX] {
        emulator(
            Effect::System(SystemRegister::Xcr0, Fixed(xcr0)),
            Reason::BadValue,
        );
    }
    for xcr0 in [1, 3, 7] {
        let mut world = World::booted();
        world.on(
            MMU,
            &[
                Effect::System(SystemRegister::Xcr0, Fixed(xcr0)),
                Effect::Resume,
            ],
        );
        world.exit(Exit::Code(0x8d));
        world.assert_no_fault();
        assert_eq!(world.kernel.state.vcpu.xcr0, xcr0);
    }
}

#[test]
fn a_forward_that_makes_no_sense_is_refused() {
    let load = Forward {
        address: 0xfee0_0020,
        count: 1,
        size: 4,
        width: 4,
        ..Forward::default()
    };
    let string = Forward {
        address: 0x3f8,
        count: 16,
        size: 1,
        space: Forward::PORT,
        finish: Forward::RETURN,
        ..load
    };
    let senseless = [
        (Forward { size: 0, ..load }, 0),
        (Forward { size: 3, ..load }, 0),
        (Forward { size: 16, ..load }, 0),
        (Forward { count: 0, ..load }, 0),
        (Forward { count: 2, ..load }, 0),
        (Forward { space: 2, ..load }, 0),
        (Forward { finish: 3, ..load }, 0),
        (
            Forward {
                finish: Forward::STORE,
                ..load
            },
            0,
        ),
        (Forward { write: 1, ..load }, 0),
        (
            Forward {
                write: 2,
                finish: Forward::RETURN,
                ..load
            },
            0,
        ),
        (
            Forward {
                register: 20,
                ..load
            },
            0,
        ),
        (Forward { width: 3, ..load }, 0),
        (Forward { sign: 2, ..load }, 0),
        (
            Forward {
                write: 1,
                finish: Forward::STORE,
                source: 20,
                ..load
            },
            0,
        ),
        (load, 4),
        (
            Forward {
                address: 0x1_0000,
                ..string
            },
            0,
        ),
        (
            Forward {
                size: 8,
                count: 1,
                ..string
            },
            0,
        ),
        (Forward { count: 0, ..string }, 0),
        (
            Forward {
                count: 2049,
                ..string
            },
            0,
        ),
        (
            Forward {
                count: u32::MAX,
                size: 4,
                ..string
            },
            0,
        ),
        (Forward { write: 1, ..string }, 0),
        (Forward { write: 1, ..string }, 15),
        (
            Forward {
                finish: Forward::LOAD,
                ..string
            },
            0,
        ),
    ];
    for (forward, length) in senseless {
        let mut world = World::booted();
        world.on(MMU, &[Effect::Forward(Fixed(forward), &vec![0; length])]);
        let (before, after) = world.around(Exit::Fault(0xfee0_0020));
        assert_eq!(before, after);
        world.assert_fault(MMU, Reason::BadValue);
    }
}

#[test]
fn ports_are_granted_to_the_last_byte() {
    let last = COM1 + 7;
    for (port, size, reason) in [
        (last, 1, None),
        (last - 3, 4, None),
        (last, 2, Some(Reason::NotGranted)),
        (last - 2, 4, Some(Reason::NotGranted)),
        (COM1 - 1, 1, Some(Reason::NotGranted)),
        (COM1 - 1, 2, Some(Reason::NotGranted)),
        (u16::MAX, 4, Some(Reason::NotGranted)),
        (COM1, 0, Some(Reason::BadValue)),
        (COM1, 3, Some(Reason::BadValue)),
        (COM1, 8, Some(Reason::BadValue)),
    ] {
        let mut world = World::booted();
        world.on(CONSOLE, &[Effect::PortOut(port, size, 0)]);
        world.kernel.host_event(atoll_core::run::HostEvent::Irq(
            atoll_protocol::units::HostIrq::nth(4),
        ));
        assert_eq!(
            world.fault(CONSOLE).map(|report| report.reason),
            reason,
            "{size} bytes at {port:#x}"
        );
    }
}

#[test]
fn a_reply_to_nothing_is_refused() {
    for ticket in [0, 1, 0xff, 0x102, u32::MAX] {
        refused(
            SERIAL,
            Exit::In(COM1, 1),
            Effect::Reply(TicketId(ticket), b"x"),
            Effect::Value(Fixed(0)),
            Reason::WrongTicket,
        );
    }
}

#[test]
fn a_load_of_the_guests_state_is_only_for_a_guest_that_has_not_run() {
    let mut world = World::booted();
    let state = initial();
    world.on(LOADER, &[Effect::Initial(0, state.as_bytes())]);
    world.kernel.state.start_first(LOADER, IMAGE);
    let before = world.observe();
    world.assert_fault(LOADER, Reason::BadValue);
    assert_eq!(before.vmcb, world.observe().vmcb);
}
