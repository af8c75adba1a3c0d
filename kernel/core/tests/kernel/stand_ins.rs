//! Instructions that the guest executes itself, with pages of RAM in place of a device's.

use atoll_core::run::Turn;
use atoll_core::vcpu::vmcb::{Save, event, exit};
use atoll_protocol::effect::{Effect, Forward, Offer};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{AccessDone, Body};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::Gpa;

use crate::cast::{IRQCHIP, LAPIC, MMU};
use crate::exits::{self, Exit};
use crate::machine::Act;
use crate::restart::order;
use crate::script::{ENTRY, message};
use crate::swap::succession;
use crate::world::World;

const TF: u64 = 1 << 8;
const BS: u64 = 1 << 14;
/// A page of RAM.
const RAM: u64 = 0xa000;
const TOKEN: u64 = 0x77;

fn save(world: &mut World) -> &mut Save {
    &mut world.kernel.state.vcpu.vmcb.save
}

fn stand_in(address: u64, value: u64) -> Effect<'static> {
    Effect::Forward(
        Fixed(Forward {
            address,
            value,
            rip_or_token: TOKEN,
            space: Forward::STAND_IN,
            finish: Forward::RETURN,
            ..Forward::default()
        }),
        &[],
    )
}

/// The guest is about to execute an instruction for which a page stands in.
fn lent() -> World {
    let mut world = World::booted();
    save(&mut world).dr6 = 0xffff_0ff0;
    world.on(MMU, &[stand_in(LAPIC, RAM)]);
    world.exit(Exit::Fault(LAPIC + 0x80));
    assert_eq!(world.pass(), Turn::Enter);
    world.assert_no_fault();
    world
}

/// The processor leaves the guest with this exit, and the guest is entered again.
fn exits(world: &mut World, code: u32) {
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(code);
    world.kernel.exited();
    assert_eq!(world.pass(), Turn::Enter);
}

fn done(world: &mut World) -> AccessDone {
    world.last(MMU, |message| match message.body {
        Body::AccessDone(done, ..) => done.0,
        other => panic!("{other:?}"),
    })
}

fn acts(world: &World) -> Vec<Act> {
    let of = |act: &&Act| matches!(act, Act::StandIn(..) | Act::StandDown(_));
    let journal = &world.kernel.state.machine.journal;
    journal.iter().filter(of).copied().collect()
}

const IN: Act = Act::StandIn(Gpa(LAPIC), Gpa(RAM));
const DOWN: Act = Act::StandDown(Gpa(LAPIC));

#[test]
fn the_guest_executes_one_instruction_and_the_emulator_is_told() {
    let mut world = lent();
    assert_eq!((acts(&world), save(&mut world).rflags & TF), (vec![IN], TF));
    world.on(MMU, &[Effect::Resume]);
    save(&mut world).rip += 3;
    save(&mut world).dr6 |= BS;
    exits(&mut world, exit::DEBUG);
    let told = AccessDone {
        token: TOKEN,
        value: 1,
    };
    assert_eq!((done(&mut world), acts(&world)), (told, vec![IN, DOWN]));
    assert_eq!((world.rip(), save(&mut world).rflags & TF), (ENTRY + 3, 0));
    assert_eq!(exits::injected(&world.kernel.state.vcpu.vmcb), 0);
    assert_eq!(world.waiting(), vec![]);
    world.assert_no_fault();
}

#[test]
fn an_exception_of_the_instruction_is_the_guests_and_ends_it() {
    let mut world = lent();
    world.on(MMU, &[Effect::Resume]);
    exits(&mut world, exit::EXCEPTION);
    assert_eq!((done(&mut world).value, acts(&world)), (0, vec![IN, DOWN]));
    assert_eq!(
        exits::injected(&world.kernel.state.vcpu.vmcb),
        event::VALID | event::EXCEPTION
    );
}

#[test]
fn an_emulator_hands_over_when_the_instruction_is_done() {
    let mut world = lent();
    // Asked now, it would leave to its successor an instruction of which that knows nothing.
    world.on(MMU, &[Effect::Resume]);
    order(&mut world, &succession(MMU, RoleKind::Mmu));
    let told = |world: &mut World| -> Vec<&str> {
        let name = |bytes: &Vec<u8>| match message(bytes).body {
            Body::AccessDone(..) => "done",
            Body::Export => "export",
            _ => "else",
        };
        world.got(MMU).iter().map(name).collect()
    };
    assert_eq!(told(&mut world), ["else"]);
    save(&mut world).dr6 |= BS;
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(exit::DEBUG);
    world.kernel.exited();
    world.on(MMU, &[Effect::Exported(b"state")]);
    world.pass();
    assert_eq!(told(&mut world), ["else", "done", "export"]);
    assert_eq!(acts(&world), vec![IN, DOWN]);
}

#[test]
fn what_exits_in_between_leaves_the_page_where_it_is() {
    let mut world = lent();
    exits(&mut world, exit::INTR);
    world.on(MMU, &[Effect::Resume]);
    world.kernel.state.vcpu.vmcb.control.exit_info2 = 0x5000;
    exits(&mut world, exit::NESTED_FAULT);
    assert_eq!((acts(&world), save(&mut world).rflags & TF), (vec![IN], TF));
}

#[test]
fn an_interrupt_waits_until_the_instruction_is_over() {
    let mut world = World::booted();
    let offer = Effect::Offer(Fixed(Offer {
        vector: 0x31,
        kind: Offer::FIXED,
        ..Offer::default()
    }));
    world.on(IRQCHIP, &[offer, Effect::Done]);
    world.exit(Exit::Out(0x20, 1, 0));
    world.on(MMU, &[stand_in(LAPIC, RAM)]);
    world.exit(Exit::Fault(LAPIC + 0x80));
    save(&mut world).rflags |= 1 << 9;
    save(&mut world).dr6 = 0xffff_0ff0;
    assert_eq!(world.pass(), Turn::Enter);
    assert_eq!(exits::injected(&world.kernel.state.vcpu.vmcb), 0);
    world.on(MMU, &[Effect::Resume]);
    save(&mut world).dr6 |= BS;
    exits(&mut world, exit::DEBUG);
    assert_eq!(
        exits::injected(&world.kernel.state.vcpu.vmcb),
        event::VALID | event::INTERRUPT | 0x31
    );
}

#[test]
fn a_second_page_may_stand_in_and_a_third_is_an_undefined_instruction() {
    let mut world = lent();
    world.on(MMU, &[stand_in(LAPIC + 0x1000, RAM)]);
    world.kernel.state.vcpu.vmcb.control.exit_info2 = LAPIC + 0x1000;
    exits(&mut world, exit::NESTED_FAULT);
    let second = Act::StandIn(Gpa(LAPIC + 0x1000), Gpa(RAM));
    assert_eq!(acts(&world), [IN, second]);
    world.on(MMU, &[stand_in(LAPIC + 0x2000, RAM)]);
    world.kernel.state.vcpu.vmcb.control.exit_info2 = LAPIC + 0x2000;
    exits(&mut world, exit::NESTED_FAULT);
    assert_eq!(
        acts(&world),
        [IN, second, DOWN, Act::StandDown(Gpa(LAPIC + 0x1000))]
    );
    assert_eq!(
        exits::injected(&world.kernel.state.vcpu.vmcb),
        event::VALID | event::EXCEPTION | 6
    );
    world.assert_no_fault();
}

#[test]
fn an_exception_that_the_emulator_raises_ends_it() {
    let mut world = lent();
    let undefined = Effect::Exception(Fixed(atoll_protocol::vcpu::Exception::UNDEFINED));
    world.on(MMU, &[undefined]);
    world.kernel.state.vcpu.vmcb.control.exit_info2 = LAPIC + 0x1000;
    exits(&mut world, exit::NESTED_FAULT);
    assert_eq!(acts(&world), [IN, DOWN]);
    assert_eq!(save(&mut world).rflags & TF, 0);
}

#[test]
fn only_a_page_of_guest_memory_stands_in() {
    for (effect, reason) in [
        (stand_in(LAPIC, LAPIC), Reason::OutsideMemory),
        (stand_in(LAPIC, RAM + 8), Reason::BadValue),
        (stand_in(LAPIC + 8, RAM), Reason::BadValue),
    ] {
        let mut world = World::booted();
        world.on(MMU, &[effect]);
        world.exit(Exit::Fault(LAPIC));
        world.assert_fault(MMU, reason);
        assert_eq!(acts(&world), []);
    }
}
