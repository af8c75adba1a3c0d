//! Drivers of the host's devices.

use std::vec::Vec;

use atoll_protocol::control::Ask;
use atoll_protocol::order::{Order, Outcome};
use atoll_protocol::role::console_mail::{OUTPUT, ROOM};
use atoll_protocol::units::ServerId;
use proptest::prelude::*;

use super::{Event, bytes, events, pass};

/// The console's driver, for the serial port that is this server. All output together is less than the driver may hold.
pub fn console(uart: ServerId) -> impl Strategy<Value = Vec<Event>> {
    let mail = move |kind: u8, content: &[u8]| Event::Mail(uart, [&[kind], content].concat());
    events(prop_oneof![
        4 => bytes(24).prop_map(move |bytes| mail(OUTPUT, &bytes)),
        2 => (1_u8..=16).prop_map(move |count| mail(ROOM, &[count])),
        4 => (0_u16..300).prop_map(Event::Filled),
        2 => Just(Event::HostIrq),
        2 => bytes(16).prop_map(Event::Drained),
        1 => Just(Event::Request(ServerId::nth(9), Vec::new())),
        3 => pass(3_000_000),
    ])
}

/// The control line's driver.
pub fn control() -> impl Strategy<Value = Vec<Event>> {
    let ask = |ask: Ask<'_>| postcard::to_extend(&ask, Vec::new()).unwrap_or_default();
    let orders = [
        Order::Kill(ServerId::nth(3)),
        Order::Swap(ServerId::nth(3), true, Some("uart")),
        Order::Piece(0, 9, &[7; 60]),
    ];
    let asks = [
        Ask::Ping(7),
        Ask::Servers,
        Ask::Exits,
        Ask::Machine,
        Ask::Dump(2),
    ]
    .into_iter()
    .chain(orders.map(Ask::Order));
    // COBS: the number of bytes up to the next zero, those bytes, ..., a zero.
    let frame = move |ask: &[u8]| {
        let blocks = ask
            .split(|byte| *byte == 0)
            .flat_map(|block| [&[block.len() as u8 + 1], block].concat());
        blocks.chain([0]).collect::<Vec<u8>>()
    };
    let frames: Vec<Vec<u8>> = asks.map(|one| frame(&ask(one))).collect();
    let outcome = postcard::to_extend(&Outcome::Done, Vec::new()).unwrap_or_default();
    events(prop_oneof![
        4 => prop::sample::select(frames).prop_map(Event::Drained),
        1 => bytes(16).prop_map(Event::Drained),
        2 => Just(Event::HostIrq),
        4 => (0_u16..60).prop_map(Event::Filled),
        2 => bytes(20).prop_map(Event::Record),
        1 => Just(Event::Record(Vec::new())),
        1 => Just(Event::Answered(Some(outcome))),
        1 => Just(Event::Answered(None)),
        2 => pass(3_000_000),
    ])
}
