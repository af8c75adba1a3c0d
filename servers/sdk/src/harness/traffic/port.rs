//! Devices behind ports.

use std::vec::Vec;

use atoll_protocol::role::console_mail::{INPUT, TAKEN};
use atoll_protocol::units::ServerId;
use proptest::prelude::*;

use super::{Event, bytes, events, pass};

/// A 16550A at 0x3f8 whose console is this server. The divisor stays as it is while characters wait: it says how long they do.
pub fn serial(console: ServerId) -> impl Strategy<Value = Vec<Event>> {
    let mail = |kind: u8, content: &[u8]| [&[kind], content].concat();
    let out = |offset: u16, value: u8| Event::Out(0x3f8 + offset, 1, value.into());
    events(prop_oneof![
        4 => any::<u8>().prop_map(move |byte| out(0, byte)),
        1 => Just(out(0, b'\n')),
        3 => (prop_oneof![Just(1), Just(2), Just(4), Just(7)], any::<u8>()).prop_map(move |(offset, value)| out(offset, value)),
        1 => (0_u8..0x80).prop_map(move |value| out(3, value)),
        // As a driver does before it uses the port.
        1 => Just(out(4, 0x0b)),
        1 => prop_oneof![Just(out(1, 0x05)), Just(out(1, 0x07)), Just(out(2, 0xc1))],
        5 => (0_u16..8).prop_map(|offset| Event::In(0x3f8 + offset, 1)),
        2 => bytes(16).prop_map(move |bytes| Event::Mail(console, mail(INPUT, &bytes))),
        1 => (0_u16..200).prop_map(move |count| Event::Mail(console, mail(TAKEN, &count.to_le_bytes()))),
        3 => pass(3_000_000),
    ])
}

/// An 8254 and port 0x61.
pub fn timer() -> impl Strategy<Value = Vec<Event>> {
    events(prop_oneof![
        3 => any::<u8>().prop_map(|word| Event::Out(0x43, 1, word.into())),
        // Counter 0 as systems use it.
        1 => prop_oneof![Just(0x34), Just(0x30), Just(0x36)].prop_map(|word| Event::Out(0x43, 1, word)),
        5 => (0x40_u16..0x43, any::<u8>()).prop_map(|(port, value)| Event::Out(port, 1, value.into())),
        5 => (0x40_u16..0x44).prop_map(|port| Event::In(port, 1)),
        1 => any::<u8>().prop_map(|value| Event::Out(0x61, 1, value.into())),
        1 => Just(Event::In(0x61, 1)),
        4 => pass(200_000_000),
    ])
}

/// An MC146818 at 0x70.
pub fn clock() -> impl Strategy<Value = Vec<Event>> {
    let location = prop_oneof![3 => 0_u8..0x0e, 1 => Just(0x32), 1 => 0_u8..0x80];
    events(prop_oneof![
        5 => location.prop_map(|index| Event::Out(0x70, 1, index.into())),
        // Register and value in one: interrupts on, a rate, an alarm each second.
        1 => (0_u32..8).prop_map(|enable| Event::Out(0x70, 2, (enable << 4 | 2) << 8 | 0x0b)),
        1 => (0x20_u32..0x30).prop_map(|rate| Event::Out(0x70, 2, rate << 8 | 0x0a)),
        1 => prop_oneof![Just(1), Just(3), Just(5)].prop_map(|alarm| Event::Out(0x70, 2, 0xff00 | alarm)),
        3 => any::<u8>().prop_map(|value| Event::Out(0x71, 1, value.into())),
        5 => Just(Event::In(0x71, 1)),
        1 => Just(Event::Out(0x70, 1, 0x0c)),
        4 => pass(4_000_000_000),
    ])
}

/// ACPI power management at 0x600.
pub fn power() -> impl Strategy<Value = Vec<Event>> {
    events(prop_oneof![
        3 => (0x600_u16..0x60c, any::<u16>()).prop_map(|(port, value)| Event::Out(port, 2, value.into())),
        2 => prop_oneof![Just((0x602, 1)), Just((0x604, 1)), Just((0x600, 1))].prop_map(|(port, value)| Event::Out(port, 2, value)),
        1 => any::<u8>().prop_map(|value| Event::Out(0xcf9, 1, value.into())),
        4 => (0x600_u16..0x60c).prop_map(|port| Event::In(port, 2)),
        1 => Just(Event::In(0xcf9, 1)),
        2 => Just(Event::In(0x608, 4)),
        3 => pass(6_000_000_000),
    ])
}
