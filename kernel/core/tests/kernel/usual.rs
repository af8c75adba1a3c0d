//! Answers of the usual form are judged in a straight line; all others by a walk. Both must come to the same.

use atoll_protocol::effect::{Effect, Forward, Mapping, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::Leaf;
use atoll_protocol::units::{Gpa, ServerId, Ticks, TimerId};

use crate::cast::{CPUID, HYPERCALL, IRQCHIP, LAPIC, MMU, MSR, SERIAL, TIMER};
use crate::exits::Exit;
use crate::random::dice::Dice;
use crate::world::World;

const ROUNDS: u32 = 6_000;

/// An exit, and who is asked about it.
fn exit(dice: &mut Dice) -> (Exit, ServerId) {
    match dice.below(9) {
        0 => (Exit::Cpuid(1), CPUID),
        1 => (Exit::ReadMsr(0xc001_0015), MSR),
        2 => (Exit::WriteMsr(0xc001_0015, 7), MSR),
        3 => (Exit::In(0x20, 1), IRQCHIP),
        4 => (Exit::Out(0x20, 1, 0x20), IRQCHIP),
        5 => (Exit::Out(0x40, 1, 0), TIMER),
        6 => (Exit::Hypercall(3), HYPERCALL),
        7 => (Exit::Fault(0x5000), MMU),
        _ => (Exit::Fault(LAPIC + 0x80), MMU),
    }
}

/// An access that describes itself well, most of the time.
fn forward(dice: &mut Dice) -> Forward {
    let write = dice.below(2) as u8;
    Forward {
        address: LAPIC + 0x80,
        value: dice.any(),
        rip_or_token: dice.any(),
        count: dice.pick(&[1, 1, 1, 0, 2]),
        space: dice.pick(&[Forward::MMIO, Forward::MMIO, Forward::PORT]),
        write,
        size: dice.pick(&[1, 2, 4, 8, 4, 4, 3]),
        source: dice.pick(&[Forward::IMMEDIATE, 3, 17, 20]),
        finish: if dice.one_in(5) {
            dice.below(4) as u8
        } else {
            write
        },
        register: dice.pick(&[1, 2, 16, 20]),
        width: dice.pick(&[4, 8, 2, 5]),
        sign: dice.pick(&[0, 1, 2]),
        ..Forward::default()
    }
}

/// An answer that is of the usual form, or nearly.
fn answer(dice: &mut Dice) -> Vec<Effect<'static>> {
    let mut effects = Vec::new();
    match dice.below(6) {
        0 => effects.push(Effect::Offer(Fixed(Offer {
            vcpu: 0,
            vector: 0x31,
            kind: dice.below(4) as u8,
            nmi: dice.below(3) as u8,
        }))),
        1 => effects.push(Effect::Arm(
            TimerId::nth(dice.below(3) as u8),
            Fixed(Ticks(5_000_000 + dice.below(100))),
        )),
        2 => effects.push(Effect::Map(Fixed(Mapping {
            gpa: Gpa(dice.pick(&[0x5000, 0x5000, 0x5001, LAPIC])),
            size: 0x1000,
            access: 3,
        }))),
        _ => {}
    }
    match dice.below(7) {
        0 => effects.push(Effect::Leaf(Fixed(Leaf {
            eax: 1,
            ebx: 2,
            ecx: 3,
            edx: dice.any() as u32,
        }))),
        1 | 2 => effects.push(Effect::Value(Fixed(dice.any()))),
        3 => effects.push(Effect::Done),
        4 => effects.push(Effect::Resume),
        5 => effects.push(Effect::Forward(Fixed(forward(dice)), &[])),
        _ => {}
    }
    for _ in 0..dice.below(3) {
        effects.push(Effect::Save(dice.below(9) as u16, dice.below(3) as u16));
    }
    effects
}

/// The same by the long way: an effect ahead that changes nothing, but is not of the usual form.
fn at_length(effects: &[Effect<'static>]) -> Vec<Effect<'static>> {
    let mut long = vec![Effect::Log("")];
    long.extend_from_slice(effects);
    long
}

#[test]
fn the_straight_way_and_the_long_way_come_to_the_same() {
    let mut dice = Dice::new(0x05a1);
    let (mut straight, mut long) = (World::booted(), World::booted());
    let (mut committed, mut faulted) = (0, 0);
    for round in 0..ROUNDS {
        let ((exit, asked), first, second) =
            (exit(&mut dice), answer(&mut dice), answer(&mut dice));
        // A forwarded access goes on to the interrupt controller or the serial port.
        for (world, long) in [(&mut straight, false), (&mut long, true)] {
            for (server, effects) in [(asked, &first), (IRQCHIP, &second), (SERIAL, &second)] {
                world.on(
                    server,
                    &if long {
                        at_length(effects)
                    } else {
                        effects.clone()
                    },
                );
            }
            world.exit(exit);
        }
        assert_eq!(
            straight.observe(),
            long.observe(),
            "round {round}: {exit:?} {first:?} {second:?}"
        );
        assert_eq!(
            straight.waiting(),
            long.waiting(),
            "round {round}: {exit:?} {first:?} {second:?}"
        );
        let faults = |world: &mut World| {
            [asked, IRQCHIP, SERIAL].map(|server| world.fault(server).map(|report| report.reason))
        };
        let (one, other) = (faults(&mut straight), faults(&mut long));
        assert_eq!(one, other, "round {round}: {exit:?} {first:?} {second:?}");
        if one.iter().any(Option::is_some) {
            faulted += 1;
            (straight, long) = (World::booted(), World::booted());
        } else {
            committed += 1;
            straight.forget();
            long.forget();
        }
    }
    assert!(
        committed > 500 && faulted > 500,
        "{committed} answers were committed, {faulted} broke a rule"
    );
}
