//! An exit that an emulator handles: registers on request, accesses forwarded to devices and back, conflicts delivered again.

use atoll_core::ticket::Operation;
use atoll_core::vcpu::Stand;
use atoll_protocol::effect::{Effect, Forward, GuestCas};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::units::Gpa;

use crate::cast::{COM1, IRQCHIP, LAPIC, MMU, MSR, SERIAL, TIMER};
use crate::exits::Exit;
use crate::script::{ENTRY, READ, message};
use crate::world::World;

/// A load of the local APIC's identification into RAX.
const LOAD: Forward = Forward {
    address: LAPIC + 0x20,
    value: 0,
    rip_or_token: ENTRY + 3,
    count: 1,
    space: Forward::MMIO,
    write: 0,
    size: 4,
    source: 0,
    finish: Forward::LOAD,
    register: 0,
    width: 4,
    sign: 0,
    reserved: 0,
};
const FAULT: Exit = Exit::Fault(LAPIC + 0x20);
const CAS: Effect<'_> = Effect::GuestCas(Fixed(GuestCas {
    gpa: Gpa(0x8000),
    old: 1,
    new: 2,
    size: 4,
}));

fn forward(forward: Forward) -> Effect<'static> {
    Effect::Forward(Fixed(forward), &[])
}

/// Whether the emulator's messages so far came with registers.
fn with_registers(world: &mut World) -> Vec<bool> {
    let with = |bytes: &Vec<u8>| match message(bytes).body {
        Body::NestedFault(_, _, registers) => registers.is_some(),
        other => panic!("{other:?}"),
    };
    world.got(MMU).iter().map(with).collect()
}

#[test]
fn registers_come_when_they_are_asked_for_and_nothing_is_committed_before() {
    let mut world = World::booted();
    world.kernel.state.vcpu.set_register(7, 0x7777);
    world.on(MMU, &[Effect::Save(0, 1), Effect::NeedRegisters]);
    world.exit(FAULT);
    assert_eq!(with_registers(&mut world), [false, true]);
    world.last(MMU, |message| {
        let Body::NestedFault(fault, context, Some(registers)) = message.body else {
            panic!("no registers")
        };
        assert_eq!(
            (fault.0.gpa, context.0.rip, registers.0.general[7]),
            (Gpa(LAPIC + 0x20), ENTRY, 0x7777)
        );
    });
    assert_eq!(
        world.kernel.state.machine.journal,
        [],
        "the line that was named beside is not saved"
    );
    world.assert_no_fault();
}

#[test]
fn registers_are_given_once_per_delivery() {
    let mut world = World::booted();
    world.on(MMU, &[Effect::NeedRegisters]);
    world.on(MMU, &[Effect::NeedRegisters]);
    world.exit(FAULT);
    assert_eq!(with_registers(&mut world), [false, true]);
    world.assert_fault(MMU, Reason::WrongNeed);
}

#[test]
fn registers_are_asked_for_alone() {
    let work = Effect::GuestWrite(Fixed(Gpa(0x8000)), b"meanwhile");
    let beside = [
        vec![work, Effect::NeedRegisters],
        vec![Effect::NeedRegisters, work],
        vec![Effect::NeedRegisters, Effect::NeedRegisters],
        vec![Effect::NeedRegisters, CAS],
    ];
    for effects in beside {
        let mut world = World::booted();
        world.on(MMU, &effects);
        let (before, after) = world.around(FAULT);
        assert_eq!(before, after);
        world.assert_fault(MMU, Reason::WrongNeed);
    }
}

#[test]
fn registers_cannot_be_had_for_an_exit_that_has_none() {
    let mut world = World::booted();
    world.on(MSR, &[Effect::NeedRegisters]);
    world.exit(Exit::ReadMsr(0));
    world.assert_fault(MSR, Reason::WrongNeed);
}

#[test]
fn a_forwarded_load_ends_in_its_register_behind_the_instruction() {
    for (size, width, sign, value, expected) in [
        (1, 1, 0, 0x80, 0xffff_ffff_ffff_ff80),
        (1, 4, 0, 0x80, 0x80),
        (1, 4, 1, 0x80, 0xffff_ff80),
        (1, 8, 1, 0x80, 0xffff_ffff_ffff_ff80),
        (1, 2, 1, 0x80, 0xffff_ffff_ffff_ff80),
        (2, 8, 0, 0x1234_8000, 0x8000),
        (2, 8, 1, 0x8000, 0xffff_ffff_ffff_8000),
        (4, 8, 1, 0x8000_0000, 0xffff_ffff_8000_0000),
        (4, 4, 0, READ, READ & 0xffff_ffff),
        (8, 8, 0, READ, READ),
    ] {
        let mut world = World::booted();
        world.kernel.state.vcpu.set_register(0, u64::MAX);
        world.on(
            MMU,
            &[forward(Forward {
                size,
                width,
                sign,
                ..LOAD
            })],
        );
        world.on(IRQCHIP, &[Effect::Value(Fixed(value))]);
        world.exit(FAULT);
        assert_eq!(
            world.register(0),
            expected,
            "{size} bytes, {width} wide, sign {sign}"
        );
        assert_eq!((world.rip(), world.waiting()), (ENTRY + 3, vec![]));
        world.assert_no_fault();
    }
}

#[test]
fn a_high_byte_register_is_loaded_in_its_place() {
    let mut world = World::booted();
    world.kernel.state.vcpu.set_register(3, 0x1122_3344);
    world.on(
        MMU,
        &[forward(Forward {
            size: 1,
            width: 1,
            register: 19,
            ..LOAD
        })],
    );
    world.on(IRQCHIP, &[Effect::Value(Fixed(0xab))]);
    world.exit(FAULT);
    assert_eq!(world.register(3), 0x1122_ab44);
}

#[test]
fn a_forwarded_store_carries_its_register_or_its_immediate() {
    for (source, expected) in [
        (2, 0x5566_7788),
        (18, 0x77),
        (Forward::IMMEDIATE, 0x1234_5678),
    ] {
        let mut world = World::booted();
        world
            .kernel
            .state
            .vcpu
            .set_register(2, 0x1122_3344_5566_7788);
        let store = Forward {
            write: 1,
            finish: Forward::STORE,
            source,
            value: 0xffff_ffff_1234_5678,
            ..LOAD
        };
        world.on(MMU, &[forward(store)]);
        world.exit(FAULT);
        assert_eq!(world.written(IRQCHIP), expected);
        assert_eq!(world.rip(), ENTRY + 3);
        world.assert_no_fault();
    }
}

#[test]
fn a_returned_access_comes_back_with_its_token_and_may_be_followed_by_another() {
    let mut world = World::booted();
    let read = Forward {
        finish: Forward::RETURN,
        rip_or_token: 0x70c3,
        ..LOAD
    };
    world.on(MMU, &[Effect::NeedRegisters]);
    world.on(MMU, &[forward(read)]);
    world.on(IRQCHIP, &[Effect::Value(Fixed(0xffff_ffff_0000_00f0))]);
    let write = Forward {
        write: 1,
        source: Forward::IMMEDIATE,
        value: 0xff,
        finish: Forward::STORE,
        ..LOAD
    };
    world.on(MMU, &[forward(write)]);
    world.exit(FAULT);
    let done = world.got(MMU).pop().expect("it got messages");
    let Body::AccessDone(done, ..) = message(&done).body else {
        panic!("no result")
    };
    assert_eq!((done.0.token, done.0.value), (0x70c3, 0xf0));
    assert_eq!(world.written(IRQCHIP), 0xff);
    assert_eq!((world.rip(), world.waiting()), (ENTRY + 3, vec![]));
    world.assert_no_fault();
}

#[test]
fn a_string_travels_to_its_device_and_back() {
    let string = Forward {
        address: u64::from(COM1),
        space: Forward::PORT,
        size: 1,
        count: 5,
        finish: Forward::RETURN,
        ..LOAD
    };
    let mut world = World::booted();
    world.on(
        MMU,
        &[Effect::Forward(
            Fixed(Forward { write: 1, ..string }),
            b"hello",
        )],
    );
    world.exit(Exit::StringIo(COM1, false));
    world.last(SERIAL, |message| {
        assert!(matches!(message.body, Body::PortWriteString(_, b"hello")))
    });
    world.on(MMU, &[forward(string)]);
    world.on(SERIAL, &[Effect::Data(b"world")]);
    world.exit(Exit::StringIo(COM1, true));
    world.last(MMU, |message| {
        assert!(matches!(message.body, Body::AccessDone(_, _, _, b"world")))
    });
    world.assert_no_fault();
}

#[test]
fn a_string_answered_with_another_length_is_a_fault_of_the_device() {
    let string = Forward {
        address: u64::from(COM1),
        space: Forward::PORT,
        size: 2,
        count: 5,
        finish: Forward::RETURN,
        ..LOAD
    };
    let mut world = World::booted();
    world.on(MMU, &[forward(string)]);
    world.on(SERIAL, &[Effect::Data(&[0; 9])]);
    world.exit(Exit::StringIo(COM1, true));
    world.assert_fault(SERIAL, Reason::WrongReply);
}

#[test]
fn ports_that_are_nobodys_read_all_ones_and_swallow_writes() {
    for (size, rax) in [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff)] {
        let mut world = World::booted();
        world.kernel.state.vcpu.set_register(0, 0);
        world.exit(Exit::In(0x1234, size));
        assert_eq!((world.register(0), world.rip()), (rax, ENTRY + 1));
        world.exit(Exit::Out(0x1234, size, 0));
        assert_eq!(world.rip(), ENTRY + 1);
        assert_eq!(
            (
                world.kernel.state.stray_ports,
                world.kernel.state.stray_memory
            ),
            (2, 0)
        );
        assert!(world.servers().seen.is_empty());
    }
}

#[test]
fn memory_that_is_nobodys_reads_all_ones_and_swallows_writes() {
    let mut world = World::booted();
    world.on(
        MMU,
        &[forward(Forward {
            address: 0xd000_0000,
            size: 8,
            width: 8,
            ..LOAD
        })],
    );
    world.exit(Exit::Fault(0xd000_0000));
    assert_eq!((world.register(0), world.rip()), (u64::MAX, ENTRY + 3));
    world.on(
        MMU,
        &[forward(Forward {
            address: 0xd000_0000,
            write: 1,
            finish: Forward::STORE,
            ..LOAD
        })],
    );
    world.exit(Exit::Fault(0xd000_0000));
    assert_eq!(
        (
            world.kernel.state.stray_ports,
            world.kernel.state.stray_memory
        ),
        (0, 2)
    );
    world.assert_no_fault();
}

#[test]
fn a_string_from_nowhere_is_all_ones() {
    let string = Forward {
        address: 0x1234,
        space: Forward::PORT,
        size: 2,
        count: 3,
        finish: Forward::RETURN,
        ..LOAD
    };
    let mut world = World::booted();
    world.on(MMU, &[forward(string)]);
    world.exit(Exit::StringIo(0x1234, true));
    world.last(MMU, |message| {
        assert!(matches!(
            message.body,
            Body::AccessDone(_, _, _, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
        ))
    });
}

#[test]
fn a_conflict_commits_nothing_and_delivers_the_same_exit_again() {
    let mut world = World::booted();
    world.on(MMU, &[Effect::Register(1, Fixed(5)), CAS, Effect::Resume]);
    world.exit(FAULT);
    assert_eq!(with_registers(&mut world), [false, false]);
    assert_eq!(
        (world.register(1), world.kernel.state.machine.journal.len()),
        (0, 0)
    );
    world.poke(0x8000, &[1, 0, 0, 0]);
    world.on(MMU, &[CAS, Effect::Resume]);
    world.exit(FAULT);
    assert_eq!(world.kernel.state.machine.memory.number(Gpa(0x8000), 4), 2);
    world.assert_no_fault();
}

#[test]
fn a_conflict_keeps_the_registers_that_were_asked_for() {
    let mut world = World::booted();
    world.on(MMU, &[Effect::NeedRegisters]);
    world.on(MMU, &[CAS, Effect::Resume]);
    world.exit(FAULT);
    assert_eq!(with_registers(&mut world), [false, true, true]);
}

#[test]
fn a_conflict_after_a_returned_access_does_not_repeat_the_access() {
    let mut world = World::booted();
    let read = Forward {
        finish: Forward::RETURN,
        rip_or_token: 0x70c3,
        ..LOAD
    };
    world.on(MMU, &[forward(read)]);
    world.on(MMU, &[CAS, Effect::Resume]);
    world.exit(FAULT);
    assert_eq!(world.got(IRQCHIP).len(), 1);
    world.last(MMU, |message| {
        let Body::AccessDone(done, ..) = message.body else {
            panic!("the exit itself again")
        };
        assert_eq!((done.0.token, done.0.value), (0x70c3, READ & 0xffff_ffff));
    });
    assert_eq!((world.got(MMU).len(), world.waiting()), (3, vec![]));
    world.assert_no_fault();
}

#[test]
fn an_endless_conflict_ends_and_the_guest_runs_its_instruction_again() {
    let mut world = World::booted();
    (0..1000).for_each(|_| world.on(MMU, &[CAS, Effect::Resume]));
    world.exit(FAULT);
    assert!(world.got(MMU).len() < 100);
    assert_eq!((world.rip(), world.waiting()), (ENTRY, vec![]));
    assert_eq!(world.kernel.state.vcpu.stand, Stand::Runnable);
    world.assert_no_fault();
}

#[test]
fn a_conflict_at_a_plain_exit_is_delivered_again_too() {
    let mut world = World::booted();
    world.on(MSR, &[CAS, Effect::Done]);
    world.exit(Exit::WriteMsr(0x4b56_4d00, 0x8000));
    assert_eq!(
        (world.got(MSR).len(), world.rip(), world.waiting()),
        (2, ENTRY + 2, vec![])
    );
    (0..1000).for_each(|_| world.on(MSR, &[CAS, Effect::Done]));
    world.exit(Exit::WriteMsr(0x4b56_4d00, 0x8000));
    assert_eq!((world.rip(), world.waiting()), (ENTRY, vec![]));
    assert_eq!(world.kernel.state.vcpu.stand, Stand::Runnable);
    world.assert_no_fault();
}

#[test]
fn a_conflict_of_a_device_is_not_the_emulators() {
    let mut world = World::booted();
    world
        .kernel
        .state
        .give(IRQCHIP, atoll_protocol::grant::Grant::GuestWrite);
    world.on(MMU, &[forward(LOAD)]);
    world.on(IRQCHIP, &[CAS, Effect::Value(Fixed(1))]);
    world.on(IRQCHIP, &[Effect::Value(Fixed(2))]);
    world.exit(FAULT);
    assert_eq!((world.got(MMU).len(), world.got(IRQCHIP).len()), (1, 2));
    assert_eq!((world.register(0), world.rip()), (2, ENTRY + 3));
    world.assert_no_fault();
}

#[test]
fn a_device_that_is_faulted_does_not_take_the_emulator_with_it() {
    let mut world = World::booted();
    world.on(MMU, &[forward(LOAD)]);
    world.on(IRQCHIP, &[]);
    world.exit(FAULT);
    assert_eq!(world.waiting(), [(Operation::MmioRead, IRQCHIP)]);
    world.assert_fault(IRQCHIP, Reason::TicketOpen);
}

#[test]
fn a_device_does_not_hear_of_what_goes_to_another() {
    let mut world = World::booted();
    world.exit(Exit::In(COM1 + 5, 1));
    world.exit(Exit::Out(0x43, 1, 0x34));
    assert_eq!((world.got(SERIAL).len(), world.got(TIMER).len()), (1, 1));
    assert_eq!(world.servers().seen.len(), 2);
}
