//! Interrupt controllers.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Event, pass};

const LAPIC: u64 = 0xfee0_0000;
const IOAPIC: u64 = 0xfec0_0000;
/// Ports of the 8259s, and ELCR.
const PORTS: [u16; 6] = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];
const EOI: u64 = 0xb0;
const LVT_TIMER: u64 = 0x320;
const DEADLINE: u32 = 0x6e0;

/// A register of the local APIC, by offset.
fn register() -> impl Strategy<Value = u64> {
    (0_u64..0x40).prop_map(|number| number << 4)
}

/// A redirection entry's low half: a vector, how it is sent, often not masked.
fn redirection() -> impl Strategy<Value = u32> {
    (
        0x10_u32..0x100,
        prop_oneof![4 => Just(0_u32), 1 => 0_u32..8],
        any::<[bool; 3]>(),
    )
        .prop_map(|(vector, mode, [level, logical, masked])| {
            vector
                | mode << 8
                | u32::from(logical) << 11
                | u32::from(level) << 15
                | u32::from(masked) << 16
        })
}

/// What a guest does in one go, as drivers do it.
fn set_up() -> impl Strategy<Value = Vec<Event>> {
    let local = |offset: u64, value: u32| Event::Store(LAPIC + offset, value);
    // ICW1 to ICW4, nothing masked. The fourth says how services end and nest.
    let chip = |even: u16, base: u32, wiring: u32, fourth: u32| {
        let writes = [
            (even, 0x11),
            (even + 1, base),
            (even + 1, wiring),
            (even + 1, fourth),
            (even + 1, 0),
        ];
        writes.map(|(port, value)| Event::Out(port, 1, value))
    };
    let words = prop_oneof![2 => Just(0x01_u32), 1 => Just(0x11), 1 => Just(0x03)];
    prop_oneof![
        (words.clone(), words)
            .prop_map(move |(master, slave)| [chip(0x20, 0x30, 4, master), chip(0xa0, 0x38, 2, slave)].concat()),
        (0_u32..3, 0x20_u32..0x100, 0_u32..12, 1_u32..5_000_000).prop_map(move |(mode, vector, divide, count)| {
            vec![local(0xf0, 0x1ff), local(LVT_TIMER, mode << 17 | vector), local(0x3e0, divide), local(0x380, count)]
        }),
        (0_u32..24, redirection(), any::<u8>()).prop_map(|(pin, entry, to)| {
            let to = [0, 0, 0xff, u32::from(to)][usize::from(to & 3)];
            let half = |half, value| [Event::Store(IOAPIC, 0x10 + 2 * pin + half), Event::Store(IOAPIC + 0x10, value)];
            [half(1, to << 24), half(0, entry)].concat()
        }),
        // A line of the 8259s, taken at once.
        (0_u8..16).prop_map(|line| vec![Event::Line(line, false, true), Event::Accept, Event::Header]),
        // Ends of interrupt at both, specific or rotating or neither.
        (prop_oneof![3 => Just(0x20_u32), 1 => Just(0xa0), 1 => 0x60_u32..0x68, 1 => 0xe0_u32..0xe8])
            .prop_map(|word| vec![Event::Out(0xa0, 1, word), Event::Out(0x20, 1, word)]),
    ]
}

/// Two 8259s, an I/O APIC and a local APIC, as a guest with one CPU sees them.
pub fn irqchip() -> impl Strategy<Value = Vec<Event>> {
    let group = prop_oneof![1 => single().prop_map(|event| vec![event]), 1 => set_up()];
    proptest::collection::vec(group, 0..80).prop_map(|groups| groups.concat())
}

fn single() -> impl Strategy<Value = Event> {
    let local = |offset: u64, value: u32| Event::Store(LAPIC + offset, value);
    prop_oneof![
        // Enabled, with the timer in one of its modes.
        1 => Just(local(0xf0, 0x1ff)),
        1 => (0_u32..3, 0x20_u32..0x100).prop_map(move |(mode, vector)| local(LVT_TIMER, mode << 17 | vector)),
        2 => (100_000_u32..50_000_000).prop_map(move |count| local(0x380, count)),
        2 => (0_u64..100_000_000_000).prop_map(|at| Event::WriteMsr(DEADLINE, at)),
        3 => (register(), any::<u32>()).prop_map(move |(offset, value)| local(offset, value)),
        3 => register().prop_map(|offset| Event::Load(LAPIC + offset)),
        3 => Just(local(EOI, 0)),
        1 => (0_u32..0x100).prop_map(move |priority| local(0x80, priority)),
        // An interrupt to itself.
        1 => (0x10_u32..0x100).prop_map(move |vector| local(0x300, 0x4_0000 | vector)),
        4 => (0x10_u32..0x40).prop_map(|index| Event::Store(IOAPIC, index)),
        4 => redirection().prop_map(|entry| Event::Store(IOAPIC + 0x10, entry)),
        1 => any::<u32>().prop_map(|id| Event::Store(IOAPIC + 0x10, id)),
        2 => prop_oneof![Just(IOAPIC), Just(IOAPIC + 0x10)].prop_map(Event::Load),
        1 => (0x10_u32..0x100).prop_map(|vector| Event::Store(IOAPIC + 0x40, vector)),
        3 => (prop::sample::select(&PORTS[..]), any::<u8>()).prop_map(|(port, value)| Event::Out(port, 1, value.into())),
        // No line of the first 8259 is masked; an end of interrupt.
        1 => Just(Event::Out(0x21, 1, 0)),
        1 => Just(Event::Out(0x20, 1, 0x20)),
        3 => prop::sample::select(&PORTS[..]).prop_map(|port| Event::In(port, 1)),
        6 => (0_u8..24, any::<bool>(), any::<bool>()).prop_map(|(line, level, rose)| Event::Line(line, level, rose)),
        5 => Just(Event::Accept),
        2 => Just(Event::Header),
        1 => prop_oneof![Just(0x1b), Just(DEADLINE), 0x800_u32..0x840].prop_map(Event::ReadMsr),
        1 => (0x800_u32..0x840, any::<u64>(), 0_u32..64).prop_map(|(index, value, shift)| Event::WriteMsr(index, value >> shift)),
        1 => prop_oneof![4 => Just(0x900_u64), 4 => Just(0xd00), 1 => Just(0x100)].prop_map(|mode| Event::WriteMsr(0x1b, LAPIC | mode)),
        4 => pass(100_000_000),
    ]
}
