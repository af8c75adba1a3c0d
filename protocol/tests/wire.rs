//! The encoding by hand against postcard's derive: the same bytes, and the same values from any bytes.

use atoll_protocol::PAGE;
use atoll_protocol::effect::{Effect, Forward, Mapping, Offer};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{
    Body, CpuidExit, Header, HypercallExit, Leaf, Message, MmioExit, MsrExit, NestedFault, PortExit,
};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_protocol::vcpu::Context;
use atoll_protocol::wire::{self, Receive, tag};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::FromBytes;

/// A block of arbitrary bytes.
fn block<T: FromBytes>(seed: &[u8]) -> T {
    let bytes: Vec<u8> = seed.iter().copied().cycle().take(size_of::<T>()).collect();
    T::read_from_bytes(&bytes).unwrap_or_else(|_| unreachable!("as many bytes as it has"))
}

/// A message received by hand is the one expected.
#[derive(Debug, PartialEq)]
struct Same<'m>(Message<'m>);

impl Receive for Same<'_> {
    type Output = ();
    fn receive(self, message: &Message<'_>) {
        assert_eq!(message, &self.0);
    }
}

/// No message can be received.
#[derive(Debug)]
struct Never;

impl Receive for Never {
    type Output = ();
    fn receive(self, message: &Message<'_>) {
        panic!("received {message:?}");
    }
}

/// The effects of an answer, taken apart by hand.
fn by_hand(mut bytes: &[u8]) -> Option<Vec<Effect<'_>>> {
    let mut effects = Vec::new();
    while !bytes.is_empty() {
        let (effect, rest) = Effect::take(bytes).ok()?;
        effects.push(effect);
        bytes = rest;
    }
    Some(effects)
}

/// The same by postcard.
fn derived(mut bytes: &[u8]) -> Option<Vec<Effect<'_>>> {
    let mut effects = Vec::new();
    while !bytes.is_empty() {
        let (effect, rest) = postcard::take_from_bytes(bytes).ok()?;
        effects.push(effect);
        bytes = rest;
    }
    Some(effects)
}

fn same_message(written: &[u8], header: Header, body: Body<'_>) {
    let message = Message {
        header: Fixed(header),
        body,
    };
    let derived = postcard::to_allocvec(&message).expect("a message encodes");
    assert_eq!(written, derived);
    assert_eq!(wire::receive(&derived, Same(message)), Ok(()));
    // What an earlier message has left behind it means nothing.
    let mut page = [0xee; PAGE];
    page[..derived.len()].copy_from_slice(&derived);
    assert_eq!(wire::receive_page(&page, Same(message)), Some(()));
}

proptest! {
    #[test]
    fn every_hot_message_is_written_as_postcard_writes_it(seed in vec(any::<u8>(), 97)) {
        let header: Header = block(&seed);
        let mut page = [0xee; 4096];
        macro_rules! check {
            ($tag:ident, $variant:ident, $block:ty) => {
                let exit: $block = block(&seed[1..]);
                let length = wire::exit(&mut page, &header, tag::$tag, &exit).expect("it fits");
                same_message(&page[..length], header, Body::$variant(Fixed(exit)));
            };
        }
        check!(CPUID, Cpuid, CpuidExit);
        check!(MSR_READ, MsrRead, MsrExit);
        check!(MSR_WRITE, MsrWrite, MsrExit);
        check!(PORT_READ, PortRead, PortExit);
        check!(PORT_WRITE, PortWrite, PortExit);
        check!(MMIO_READ, MmioRead, MmioExit);
        check!(MMIO_WRITE, MmioWrite, MmioExit);
        check!(HYPERCALL, Hypercall, HypercallExit);
        check!(MEMORY_FAULT, MemoryFault, NestedFault);
        let length = wire::accepted(&mut page, &header).expect("it fits");
        same_message(&page[..length], header, Body::Accepted);
        let (fault, context): (NestedFault, Context) = (block(&seed[2..]), block(&seed[3..]));
        let length = wire::nested_fault(&mut page, &header, &fault, &context).expect("it fits");
        same_message(&page[..length], header, Body::NestedFault(Fixed(fault), Fixed(context), None));
    }

    #[test]
    fn every_hot_effect_is_written_as_postcard_writes_it(seed in vec(any::<u8>(), 61), first: u16, count: u16, timer: u8, room in 0..80_usize) {
        let effects = [
            Effect::Save(first, count),
            Effect::Save(first & 127, count & 127),
            Effect::Leaf(Fixed(block::<Leaf>(&seed))),
            Effect::Value(Fixed(block(&seed))),
            Effect::Done,
            Effect::Resume,
            Effect::Forward(Fixed(block::<Forward>(&seed)), &[]),
            Effect::Forward(Fixed(block::<Forward>(&seed)), &seed),
            Effect::Offer(Fixed(block::<Offer>(&seed))),
            Effect::Map(Fixed(block::<Mapping>(&seed))),
            Effect::Arm(TimerId::nth(timer % 4), Fixed(block::<Ticks>(&seed))),
            Effect::NeedRegisters,
            Effect::Log("a line"),
        ];
        for effect in effects {
            let derived = postcard::to_allocvec(&effect).expect("an effect encodes");
            let mut page = vec![0xee; room];
            match effect.write(&mut page) {
                Ok(length) => prop_assert_eq!(&page[..length], &derived[..]),
                Err(_) => prop_assert!(derived.len() > room),
            }
            prop_assert_eq!(by_hand(&derived), Some(vec![effect]));
        }
    }

    #[test]
    fn any_bytes_are_read_as_postcard_reads_them(bytes in vec(any::<u8>(), 0..128), first in 0..40_u8, length in prop::sample::select(vec![4_u8, 8, 16, 24, 32, 40, 64])) {
        // Mostly plausible: a tag, then a length that some block has.
        let mut likely = bytes.clone();
        likely.iter_mut().zip([first, length]).for_each(|(to, from)| *to = from);
        for bytes in [bytes, likely] {
            prop_assert_eq!(by_hand(&bytes), derived(&bytes));
            match postcard::from_bytes(&bytes) {
                Ok(message) => _ = wire::receive(&bytes, Same(message)),
                Err(_) => prop_assert!(wire::receive(&bytes, Never).is_err()),
            }
        }
    }

    #[test]
    fn a_damaged_message_is_read_as_postcard_reads_it(seed in vec(any::<u8>(), 97), at in 0..60_usize, value: u8, cut in 0..60_usize) {
        let mut page = [0; 128];
        let header: Header = block(&seed);
        let length = wire::exit(&mut page, &header, tag::MMIO_WRITE, &block::<MmioExit>(&seed)).expect("it fits");
        page[at] = value;
        for bytes in [&page[..cut.min(length)], &page[..length]] {
            match postcard::from_bytes(bytes) {
                // Received, and then the same; or left to postcard.
                Ok(message) => _ = wire::receive(bytes, Same(message)),
                Err(_) => prop_assert!(wire::receive(bytes, Never).is_err()),
            }
        }
    }
}
