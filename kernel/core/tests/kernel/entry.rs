//! What goes into the guest at its next entry: offers, windows, NMIs, what an exit interrupted; and what ends HLT.

use atoll_core::quirks::Quirks;
use atoll_core::run::Turn;
use atoll_core::vcpu::Stand;
use atoll_core::vcpu::vmcb::{Vmcb, event, exit, intercept, vintr};
use atoll_protocol::effect::{Effect, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Header};

use crate::cast::IRQCHIP;
use crate::exits::{self, Exit};
use crate::world::World;

const IF: u64 = 1 << 9;
const OFFER: Offer = Offer {
    vcpu: 0,
    vector: 0x31,
    kind: Offer::FIXED,
    nmi: 0,
};
const EXTERNAL: Offer = Offer {
    kind: Offer::EXTERNAL,
    ..OFFER
};

/// The irqchip offers this, while it handles a port write.
fn offer(world: &mut World, offer: Offer) {
    world.on(IRQCHIP, &[Effect::Offer(Fixed(offer)), Effect::Done]);
    world.exit(Exit::Out(0x20, 1, 0));
}

fn injected(world: &mut World) -> u64 {
    assert_eq!(world.pass(), Turn::Enter);
    exits::injected(&world.kernel.state.vcpu.vmcb)
}

fn flags(world: &mut World, flags: u64) {
    world.kernel.state.vcpu.vmcb.save.rflags = 2 | flags;
}

/// What the irqchip's last message said of an acceptance.
fn accepted(world: &mut World) -> u16 {
    world.last(IRQCHIP, |message| message.header.0.accepted)
}

fn iret_is_intercepted(world: &World) -> bool {
    world.kernel.state.vcpu.vmcb.control.intercepts1 & intercept::IRET != 0
}

fn window_is_open(world: &World) -> bool {
    let control = &world.kernel.state.vcpu.vmcb.control;
    control.vintr & vintr::IRQ != 0 && control.intercepts1 & intercept::VINTR != 0
}

#[test]
fn an_offer_goes_in_when_interrupts_are_on() {
    let mut world = World::booted();
    flags(&mut world, IF);
    offer(&mut world, OFFER);
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
    assert!(!window_is_open(&world));
}

#[test]
fn an_offer_waits_in_the_processor_while_interrupts_are_off() {
    let mut world = World::booted();
    offer(&mut world, OFFER);
    assert_eq!(injected(&mut world), 0);
    world.exit(Exit::Out(0x20, 1, 0));
    assert_eq!(accepted(&mut world), Header::NOT_ACCEPTED);
    assert_eq!(injected(&mut world), 0);
    flags(&mut world, IF);
    assert_eq!(
        injected(&mut world),
        event::VALID | event::INTERRUPT | 0x31,
        "with no exit on the way"
    );
    assert!(!window_is_open(&world));
    world.exit(Exit::Out(0x20, 1, 0));
    assert_eq!(accepted(&mut world), 0x31);
}

#[test]
fn an_external_interrupt_waits_for_a_window_while_interrupts_are_off() {
    let mut world = World::booted();
    offer(&mut world, EXTERNAL);
    assert_eq!(injected(&mut world), 0);
    assert!(window_is_open(&world));
    assert!(
        !iret_is_intercepted(&world),
        "the guest could not get past one"
    );
    flags(&mut world, IF);
    world.exit(Exit::Code(exit::VINTR));
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
    assert!(!window_is_open(&world), "it closes behind the interrupt");
    assert!(iret_is_intercepted(&world));
}

/// The guest is left right where it was entered, for a reason that came ahead of the interrupt.
fn left_at_once(world: &mut World, code: u32, interrupted: u64) {
    let control = &mut world.kernel.state.vcpu.vmcb.control;
    (control.exit_code, control.exit_int_info) = (u64::from(code), interrupted);
    world.kernel.exited();
    world.kernel.state.vcpu.vmcb.control.exit_int_info = 0;
}

#[test]
fn an_interrupt_that_the_host_came_before_is_not_accepted_and_goes_in_later() {
    for kind in [Offer::FIXED, Offer::EXTERNAL] {
        let mut world = World::booted();
        flags(&mut world, IF);
        offer(&mut world, Offer { kind, ..OFFER });
        injected(&mut world);
        left_at_once(&mut world, exit::INTR, 0);
        assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
        assert_eq!(world.got(IRQCHIP).len(), 1, "nobody is told");
    }
}

#[test]
fn an_interrupt_whose_delivery_an_exit_broke_off_goes_in_once() {
    // QEMU leaves V_IRQ, and calls what was broken off an exception; other CPUs clear it, and call it an interrupt.
    for (left, kind) in [(true, event::EXCEPTION), (false, event::INTERRUPT)] {
        let mut world = World::booted();
        flags(&mut world, IF);
        offer(&mut world, OFFER);
        injected(&mut world);
        if !left {
            world.kernel.state.vcpu.vmcb.control.vintr &= !vintr::IRQ;
        }
        world.on(crate::cast::MMU, &[Effect::Resume]);
        world.kernel.state.vcpu.vmcb.control.exit_info2 = 0x5000;
        left_at_once(&mut world, exit::NESTED_FAULT, event::VALID | kind | 0x31);
        assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
        flags(&mut world, 0);
        world.kernel.state.vcpu.vmcb.control.vintr &= !vintr::IRQ;
        world.exit(Exit::Out(0x20, 1, 0));
        assert_eq!(accepted(&mut world), 0x31);
        assert_eq!(injected(&mut world), 0);
        assert_eq!(world.kernel.state.vcpu.vmcb.control.vintr & vintr::IRQ, 0);
    }
}

#[test]
fn an_interrupt_whose_delivery_raises_an_exception_is_accepted_and_gone() {
    for left in [true, false] {
        let mut world = World::booted();
        flags(&mut world, IF);
        offer(&mut world, OFFER);
        injected(&mut world);
        let control = &mut world.kernel.state.vcpu.vmcb.control;
        assert_ne!(control.intercept_exceptions & 1 << 11, 0);
        if !left {
            control.vintr &= !vintr::IRQ;
        }
        control.exit_info1 = 0x31 * 8 + 3;
        left_at_once(
            &mut world,
            exit::EXCEPTION + 11,
            event::VALID | event::EXCEPTION | 0x31,
        );
        let not_present =
            event::VALID | event::EXCEPTION | event::ERROR | 11 | (0x31 * 8 + 3) << 32;
        assert_eq!(injected(&mut world), not_present);
        let control = &world.kernel.state.vcpu.vmcb.control;
        assert_eq!(
            (
                control.intercept_exceptions & 1 << 11,
                control.vintr & vintr::IRQ
            ),
            (0, 0)
        );
        world.exit(Exit::Out(0x20, 1, 0));
        assert_eq!(accepted(&mut world), 0x31);
    }
}

#[test]
fn an_exception_of_the_guests_while_an_interrupt_waits_is_its_own() {
    let mut world = World::booted();
    offer(&mut world, OFFER);
    assert_eq!(injected(&mut world), 0);
    (
        world.kernel.state.vcpu.vmcb.control.exit_info1,
        world.kernel.state.vcpu.vmcb.control.exit_info2,
    ) = (2, 0x1234);
    left_at_once(&mut world, exit::EXCEPTION + 14, 0);
    assert_eq!(
        injected(&mut world),
        event::VALID | event::EXCEPTION | event::ERROR | 14 | 2 << 32
    );
    assert_eq!(world.kernel.state.vcpu.vmcb.save.cr2, 0x1234);
    assert!(window_is_open(&world), "the offer comes right after");
    assert_eq!(world.got(IRQCHIP).len(), 1, "nobody is told");
}

#[test]
fn an_offer_can_be_withdrawn_until_it_is_accepted() {
    let mut world = World::booted();
    offer(&mut world, OFFER);
    assert_eq!(injected(&mut world), 0);
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            ..OFFER
        },
    );
    flags(&mut world, IF);
    assert_eq!(injected(&mut world), 0);
    assert_eq!(world.kernel.state.vcpu.vmcb.control.vintr & vintr::IRQ, 0);
}

#[test]
fn an_acceptance_is_told_once_with_the_next_message() {
    let mut world = World::booted();
    flags(&mut world, IF);
    offer(&mut world, OFFER);
    injected(&mut world);
    world.exit(Exit::Out(0x20, 1, 0x20));
    assert_eq!(accepted(&mut world), 0x31);
    world.exit(Exit::Out(0x20, 1, 0x20));
    assert_eq!(accepted(&mut world), Header::NOT_ACCEPTED);
    assert_eq!(injected(&mut world), 0, "it goes in once");
}

#[test]
fn an_acceptance_that_a_rejected_message_carried_is_not_lost() {
    let mut world = World::booted();
    world
        .kernel
        .state
        .give(IRQCHIP, atoll_protocol::grant::Grant::GuestWrite);
    flags(&mut world, IF);
    offer(&mut world, OFFER);
    injected(&mut world);
    let cas = atoll_protocol::effect::GuestCas {
        gpa: atoll_protocol::units::Gpa(0x8000),
        old: 1,
        new: 2,
        size: 4,
    };
    world.on(IRQCHIP, &[Effect::GuestCas(Fixed(cas)), Effect::Done]);
    world.exit(Exit::Out(0x20, 1, 0x20));
    let told = world.got(IRQCHIP);
    let told: Vec<u16> = told
        .iter()
        .map(|bytes| crate::script::message(bytes).header.0.accepted)
        .collect();
    assert_eq!(told, [Header::NOT_ACCEPTED, 0x31, 0x31]);
}

#[test]
fn an_external_interrupts_acceptance_is_told_at_once() {
    let mut world = World::booted();
    flags(&mut world, IF);
    for code in [exit::INTR, exit::IRET] {
        offer(&mut world, EXTERNAL);
        injected(&mut world);
        world.exit(Exit::Code(code));
        world.pass();
        world.last(IRQCHIP, |message| {
            assert_eq!(
                (message.body, message.header.0.accepted),
                (Body::Accepted, 0x31)
            );
        });
        assert!(!iret_is_intercepted(&world), "what it was for is known");
    }
}

#[test]
fn an_external_interrupt_within_an_nmi_leaves_the_iret_to_the_nmi() {
    let mut world = World::booted();
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            nmi: 1,
            ..OFFER
        },
    );
    injected(&mut world);
    flags(&mut world, IF);
    offer(&mut world, EXTERNAL);
    injected(&mut world);
    world.exit(Exit::Code(exit::INTR));
    assert!(iret_is_intercepted(&world));
    offer(&mut world, EXTERNAL);
    injected(&mut world);
    world.exit(Exit::Code(exit::IRET));
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            nmi: 1,
            ..OFFER
        },
    );
    world.kernel.state.vcpu.vmcb.save.rip += 100;
    left_at_once(&mut world, exit::INTR, 0);
    assert_eq!(
        injected(&mut world),
        event::VALID | event::NMI | 2,
        "it was unblocked"
    );
}

#[test]
fn a_vector_of_a_class_not_above_the_task_priority_waits() {
    for (tpr, goes_in) in [(0, true), (2, true), (3, false), (15, false)] {
        let mut world = World::booted();
        flags(&mut world, IF);
        world.kernel.state.vcpu.vmcb.control.vintr = tpr;
        offer(&mut world, OFFER);
        assert_eq!(injected(&mut world) != 0, goes_in, "priority {tpr}");
        world.last(IRQCHIP, |message| {
            assert_eq!(u64::from(message.header.0.tpr), tpr)
        });
    }
}

#[test]
fn what_an_exit_interrupted_goes_in_ahead_of_any_offer() {
    let mut world = World::booted();
    flags(&mut world, IF);
    let fault = event::VALID | event::EXCEPTION | event::ERROR | 14 | 7 << 32;
    world.kernel.state.vcpu.vmcb.control.exit_int_info = fault;
    offer(&mut world, OFFER);
    assert_eq!(injected(&mut world), fault);
    assert!(window_is_open(&world), "the offer comes right after");
    world.kernel.state.vcpu.vmcb.control.exit_int_info = 0;
    world.exit(Exit::Code(exit::VINTR));
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
}

#[test]
fn an_interrupted_software_interrupt_is_not_injected_again() {
    let mut world = World::booted();
    world.kernel.state.vcpu.vmcb.control.exit_int_info = event::VALID | event::SOFTWARE | 0x80;
    world.exit(Exit::Fault(0x5000));
    assert_eq!(injected(&mut world), 0);
}

#[test]
fn an_nmi_goes_in_with_interrupts_off_and_another_waits_for_iret() {
    let nmi = event::VALID | event::NMI | 2;
    let mut world = World::booted();
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            nmi: 1,
            ..OFFER
        },
    );
    assert_eq!(injected(&mut world), nmi);
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            nmi: 1,
            ..OFFER
        },
    );
    offer(
        &mut world,
        Offer {
            kind: Offer::NONE,
            nmi: 1,
            ..OFFER
        },
    );
    assert_eq!(injected(&mut world), 0, "blocked");
    assert_ne!(
        world.kernel.state.vcpu.vmcb.control.intercepts1 & intercept::IRET,
        0
    );
    world.exit(Exit::Code(exit::IRET));
    assert_eq!(injected(&mut world), 0, "the IRET itself comes first");
    world.kernel.state.vcpu.vmcb.save.rip += 100;
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(exit::DEBUG);
    world.kernel.exited();
    assert_eq!(injected(&mut world), nmi);
    world.exit(Exit::Code(exit::IRET));
    world.kernel.state.vcpu.vmcb.save.rip += 100;
    world.kernel.state.vcpu.vmcb.control.exit_code = u64::from(exit::INTR);
    world.kernel.exited();
    assert_eq!(injected(&mut world), 0, "one at most was latched");
}

#[test]
fn nothing_goes_in_within_an_interrupt_shadow() {
    let mut world = World::booted();
    flags(&mut world, IF);
    world.on(IRQCHIP, &[Effect::Offer(Fixed(OFFER)), Effect::Done]);
    world.exit(Exit::Out(0x20, 1, 0));
    world.kernel.state.vcpu.vmcb.control.shadow = 1;
    assert_eq!(injected(&mut world), 0);
    let vmcb = &world.kernel.state.vcpu.vmcb;
    assert_ne!(vmcb.save.rflags & 1 << 8, 0, "one instruction is stepped");
    assert_ne!(vmcb.control.intercept_exceptions & 1 << 1, 0);
    world.kernel.state.vcpu.vmcb.control.shadow = 0;
    world.exit(Exit::Code(exit::DEBUG));
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
    let vmcb = &world.kernel.state.vcpu.vmcb;
    assert_eq!(
        vmcb.save.rflags & 1 << 8,
        0,
        "the guest's trap flag is as it was"
    );
    assert_eq!(vmcb.control.intercept_exceptions & 1 << 1, 0);
}

#[test]
fn a_processor_that_keeps_the_shadow_holds_the_interrupt_back_itself() {
    let mut world = World::booted();
    world.kernel.state.vcpu.quirks = Quirks::NONE;
    flags(&mut world, IF);
    world.on(IRQCHIP, &[Effect::Offer(Fixed(OFFER)), Effect::Done]);
    world.exit(Exit::Out(0x20, 1, 0));
    world.kernel.state.vcpu.vmcb.control.shadow = 1;
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
    let Vmcb { control, save } = &world.kernel.state.vcpu.vmcb;
    assert_eq!(save.rflags & 1 << 8, 0, "nothing is stepped");
    assert_eq!(control.shadow, 1, "VMRUN loads the shadow");
    assert_eq!(
        control.intercept_exceptions & 1 << 14,
        0,
        "a fault of the delivery is the guest's own"
    );
}

#[test]
fn an_emulated_instruction_ends_its_shadow() {
    let mut world = World::booted();
    flags(&mut world, IF);
    offer(&mut world, OFFER);
    world.kernel.state.vcpu.vmcb.control.shadow = 1;
    world.exit(Exit::Cpuid(0));
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
}

#[test]
fn a_halted_guest_sleeps_until_an_offer_that_it_can_take() {
    let mut world = World::booted();
    flags(&mut world, IF);
    world.exit(Exit::Halt);
    assert_eq!(world.kernel.state.vcpu.stand, Stand::Halted);
    assert_eq!(world.pass(), Turn::Idle);
    world.on(
        crate::cast::TIMER,
        &[Effect::Line(
            atoll_protocol::units::LineId::nth(0),
            atoll_protocol::effect::Signal::Pulse,
        )],
    );
    world.on(IRQCHIP, &[Effect::Offer(Fixed(OFFER))]);
    world
        .kernel
        .state
        .start_first(crate::cast::TIMER, atoll_protocol::layout::IMAGE);
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
}

#[test]
fn a_halted_guest_with_interrupts_off_is_woken_by_an_nmi_only() {
    let mut world = World::booted();
    offer(&mut world, OFFER);
    world.exit(Exit::Halt);
    assert_eq!(world.pass(), Turn::Idle);
    world.on(IRQCHIP, &[Effect::Offer(Fixed(Offer { nmi: 1, ..OFFER }))]);
    world
        .kernel
        .state
        .start_first(IRQCHIP, atoll_protocol::layout::IMAGE);
    assert_eq!(injected(&mut world), event::VALID | event::NMI | 2);
}

#[test]
fn an_offer_that_was_there_before_hlt_wakes_at_once() {
    let mut world = World::booted();
    flags(&mut world, IF);
    offer(&mut world, OFFER);
    world.exit(Exit::Halt);
    assert_eq!(injected(&mut world), event::VALID | event::INTERRUPT | 0x31);
}

#[test]
fn an_edge_that_fell_again_before_it_was_told_is_told() {
    let mut world = World::booted();
    let line = |signal| Effect::Line(atoll_protocol::units::LineId::nth(0), signal);
    use atoll_protocol::effect::Signal::{Lower, Raise};
    world.on(
        crate::cast::TIMER,
        &[line(Raise), line(Lower), Effect::Done],
    );
    world.exit(Exit::Out(0x40, 1, 0));
    world.pass();
    world.last(IRQCHIP, |message| {
        let Body::Line(change) = message.body else {
            panic!("no line")
        };
        assert_eq!((change.level, change.rose), (false, true));
    });
    assert_eq!(world.got(IRQCHIP).len(), 1);
}

#[test]
fn a_host_event_keeps_the_guest_from_being_entered() {
    let mut world = World::booted();
    world.kernel.state.machine.events = true;
    assert_eq!(world.kernel.pass(), Turn::Again);
    world.kernel.state.machine.events = false;
    assert_eq!(world.kernel.pass(), Turn::Enter);
}

#[test]
fn a_triple_fault_stops_the_machine_and_says_so() {
    for code in [exit::SHUTDOWN, exit::INVALID] {
        let mut world = World::booted();
        world.exit(Exit::Code(code));
        assert_eq!(world.pass(), Turn::Idle);
        assert_eq!(
            world.kernel.state.stopped,
            Some(atoll_protocol::message::Stop::Crash)
        );
        assert!(
            world
                .servers()
                .log
                .iter()
                .any(|line| line.starts_with("the guest crashed"))
        );
        world.assert_no_fault();
    }
}
