//! Single steps: the guest's own over what is completed for it, and the kernel's, which the guest must not see.

use atoll_core::run::Turn;
use atoll_core::vcpu::vmcb::{Save, event, exit};
use atoll_protocol::effect::{Effect, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Body;
use atoll_protocol::units::Ticks;

use crate::cast::{IRQCHIP, LAPIC, MMU};
use crate::exits::{self, Exit};
use crate::script::ENTRY;
use crate::world::World;

const IF: u64 = 1 << 9;
const TF: u64 = 1 << 8;
const BS: u64 = 1 << 14;
const BREAKPOINT: u64 = 1;
const STACK: u64 = 0x6000;
const OFFERED: u64 = event::VALID | event::INTERRUPT | 0x31;
const DEBUG: u64 = event::VALID | event::EXCEPTION | 1;

fn save(world: &mut World) -> &mut Save {
    &mut world.kernel.state.vcpu.vmcb.save
}

/// The guest stands at `code` in an interrupt shadow, an interrupt is offered, and the guest is about to be entered.
fn in_shadow(code: &[u8], own: u64) -> World {
    let mut world = World::booted();
    world.on(
        IRQCHIP,
        &[
            Effect::Offer(Fixed(Offer {
                vector: 0x31,
                kind: Offer::FIXED,
                ..Offer::default()
            })),
            Effect::Done,
        ],
    );
    world.exit(Exit::Out(0x20, 1, 0));
    let vmcb = &mut world.kernel.state.vcpu.vmcb;
    vmcb.save.rflags = 2 | IF | own;
    vmcb.save.rip = ENTRY;
    vmcb.save.rsp = STACK;
    vmcb.save.dr6 = 0xffff_0ff0;
    vmcb.control.shadow = 1;
    world.poke(ENTRY, code);
    world.kernel.state.vcpu.note_exit();
    assert_eq!(world.pass(), Turn::Enter);
    world.kernel.state.vcpu.vmcb.control.shadow = 0;
    world
}

/// The processor leaves the guest with this exit.
fn exits(world: &mut World, code: u32) {
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(code);
    world.kernel.exited();
    assert_eq!(world.pass(), Turn::Enter);
}

/// The stepped instruction is over, with these causes in DR6.
fn stepped(world: &mut World, causes: u64) {
    save(world).rip += 1;
    save(world).dr6 |= causes;
    exits(world, exit::DEBUG);
}

fn injected(world: &World) -> u64 {
    exits::injected(&world.kernel.state.vcpu.vmcb)
}

#[test]
fn a_step_that_is_prepared_again_before_the_guest_is_entered_keeps_what_is_the_guests() {
    for own in [0, TF] {
        let mut world = in_shadow(&[0x90], own);
        save(&mut world).dr6 = 0xffff_0ff0;
        // Something else comes, and the guest is about to be entered once more.
        world.kernel.state.vcpu.vmcb.control.shadow = 1;
        assert_eq!(world.pass(), Turn::Enter);
        world.kernel.state.vcpu.vmcb.control.shadow = 0;
        world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(exit::INTR);
        world.kernel.state.vcpu.note_exit();
        assert_eq!(save(&mut world).rflags & TF, own);
        assert_eq!(save(&mut world).dr6 & BS, 0);
        assert_eq!(
            world.kernel.state.vcpu.vmcb.control.intercept_exceptions & 1 << 3,
            0
        );
    }
}

#[test]
fn a_guest_that_steps_gets_a_debug_exception_behind_what_is_completed_for_it() {
    for what in [
        Exit::Cpuid(0),
        Exit::ReadMsr(0x277),
        Exit::In(0x20, 1),
        Exit::Out(0x5100, 1, 0),
        Exit::Hypercall(0),
        Exit::Halt,
    ] {
        for (flags, raised, cause) in [(2, 0, 0), (2 | TF, DEBUG, BS)] {
            let mut world = World::booted();
            save(&mut world).rflags = flags;
            world.exit(what);
            world.pass();
            assert_eq!(
                (injected(&world), save(&mut world).dr6 & BS),
                (raised, cause),
                "{what:?}"
            );
            assert_ne!(world.rip(), ENTRY);
        }
    }
}

#[test]
fn a_step_that_the_kernel_takes_leaves_nothing_behind() {
    let mut world = in_shadow(&[0x90], 0);
    assert_eq!((injected(&world), save(&mut world).rflags & TF), (0, TF));
    stepped(&mut world, BS);
    assert_eq!(injected(&world), OFFERED);
    assert_eq!(
        world.kernel.state.vcpu.vmcb.control.intercept_exceptions & 1 << 1,
        0
    );
    assert_eq!(
        (save(&mut world).rflags, save(&mut world).dr6),
        (2 | IF, 0xffff_0ff0)
    );
}

#[test]
fn whatever_exit_comes_first_ends_the_step() {
    let mut world = in_shadow(&[0x8b, 0x00], 0);
    world.on(MMU, &[Effect::Resume]);
    world.kernel.state.vcpu.vmcb.control.exit_info2 = LAPIC;
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(exit::NESTED_FAULT);
    world.kernel.exited();
    world.last(MMU, |message| {
        let Body::NestedFault(_, context, _) = message.body else {
            panic!("no fault")
        };
        assert_eq!(
            context.0.rflags & TF,
            0,
            "no server sees the kernel's own TF"
        );
    });
    assert_eq!(
        (world.pass(), injected(&world)),
        (Turn::Enter, 0),
        "the instruction is still in its shadow"
    );
    assert_eq!(save(&mut world).rflags & TF, TF, "and is stepped again");
}

#[test]
fn an_exception_of_the_stepped_instruction_is_the_guests() {
    let mut world = in_shadow(&[0x8b, 0x00], 0);
    let control = &mut world.kernel.state.vcpu.vmcb.control;
    (control.exit_info1, control.exit_info2) = (6, 0x1234_5678);
    exits(&mut world, exit::EXCEPTION + 14);
    assert_eq!(
        injected(&world),
        event::VALID | event::EXCEPTION | event::ERROR | 14 | 6 << 32
    );
    assert_eq!(
        (save(&mut world).cr2, save(&mut world).rflags & TF),
        (0x1234_5678, 0)
    );
    let mut world = in_shadow(&[0x0f, 0x0b], 0);
    exits(&mut world, exit::EXCEPTION + 6);
    assert_eq!(
        injected(&world),
        event::VALID | event::EXCEPTION | 6,
        "without an error code"
    );
}

#[test]
fn a_guest_that_steps_itself_gets_its_debug_exception() {
    let mut world = in_shadow(&[0x90], TF);
    stepped(&mut world, BS);
    assert_eq!(
        (
            injected(&world),
            save(&mut world).dr6 & BS,
            save(&mut world).rflags & TF
        ),
        (DEBUG, BS, TF)
    );
}

#[test]
fn a_breakpoint_within_a_step_is_the_guests() {
    let mut world = in_shadow(&[0x90], 0);
    stepped(&mut world, BS | BREAKPOINT);
    assert_eq!(
        (injected(&world), save(&mut world).dr6 & (BS | BREAKPOINT)),
        (DEBUG, BREAKPOINT)
    );
}

#[test]
fn pushf_stores_the_guests_own_trap_flag() {
    for (own, stored) in [(0, 0x02), (TF, 0x03)] {
        let mut world = in_shadow(&[0x9c], own);
        save(&mut world).rsp = STACK - 8;
        world.poke(STACK - 8, &[0x02, 0x03, 0, 0, 0, 0, 0, 0]);
        stepped(&mut world, BS);
        assert_eq!(
            world
                .kernel
                .state
                .machine
                .memory
                .number(atoll_protocol::units::Gpa(STACK - 7), 1),
            stored
        );
    }
}

#[test]
fn pushf_in_a_segment_of_16_bits_is_found_on_its_stack() {
    let mut world = in_shadow(&[0x66, 0x9c], 0);
    save(&mut world).segments[2].base = 0x3000;
    save(&mut world).rsp = 0xffff_0000 | (STACK - 0x3000);
    world.poke(STACK, &[0x02, 0x03]);
    stepped(&mut world, BS);
    assert_eq!(
        world
            .kernel
            .state
            .machine
            .memory
            .number(atoll_protocol::units::Gpa(STACK), 2),
        0x0202
    );
}

#[test]
fn popf_and_iret_leave_the_trap_flag_that_they_load() {
    for code in [0x9d, 0xcf] {
        for loaded in [0, TF] {
            let mut world = in_shadow(&[code], 0);
            save(&mut world).rflags = 2 | loaded;
            stepped(&mut world, BS);
            assert_eq!(
                (injected(&world), save(&mut world).rflags & TF),
                (0, loaded),
                "{code:x}"
            );
        }
    }
}

#[test]
fn what_would_carry_the_trap_flag_away_runs_freely_and_not_for_long() {
    for code in [
        &[0xcd, 0x80][..],
        &[0xcc],
        &[0x0f, 0x05],
        &[0x66, 0x0f, 0x07],
    ] {
        let mut world = in_shadow(code, 0);
        assert_eq!(
            (injected(&world), save(&mut world).rflags & TF),
            (0, 0),
            "{code:x?}"
        );
        let machine = &world.kernel.state.machine;
        assert!(machine.armed <= Ticks(machine.clock + 20), "{code:x?}");
        save(&mut world).rip = ENTRY + 0x100;
        exits(&mut world, exit::INTR);
        assert_eq!(injected(&world), OFFERED);
    }
}
