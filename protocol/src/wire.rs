//! The hot part of the encoding, by hand: the same bytes as postcard's derive makes, in plain loads and stores.
//!
//! An exit's message and the usual answer to it are one-byte tags around one fixed-layout block: nothing about them varies but the
//! block's content. Derived code does not know that; it costs several times as much. Whatever is not hot goes through postcard, and the
//! tests hold both against each other, in both directions.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::PAGE;
use crate::effect::Effect;
use crate::fixed::Fixed;
use crate::message::{Body, Header, Message, NestedFault};
use crate::vcpu::Context;

/// Tags of messages: places in [`Body`].
pub mod tag {
    /// [`Body::Cpuid`](crate::message::Body::Cpuid).
    pub const CPUID: u8 = 0;
    /// [`Body::MsrRead`](crate::message::Body::MsrRead).
    pub const MSR_READ: u8 = 1;
    /// [`Body::MsrWrite`](crate::message::Body::MsrWrite).
    pub const MSR_WRITE: u8 = 2;
    /// [`Body::PortRead`](crate::message::Body::PortRead).
    pub const PORT_READ: u8 = 3;
    /// [`Body::PortWrite`](crate::message::Body::PortWrite).
    pub const PORT_WRITE: u8 = 4;
    /// [`Body::MmioRead`](crate::message::Body::MmioRead).
    pub const MMIO_READ: u8 = 7;
    /// [`Body::MmioWrite`](crate::message::Body::MmioWrite).
    pub const MMIO_WRITE: u8 = 8;
    /// [`Body::Hypercall`](crate::message::Body::Hypercall).
    pub const HYPERCALL: u8 = 9;
    /// [`Body::MemoryFault`](crate::message::Body::MemoryFault).
    pub const MEMORY_FAULT: u8 = 10;
    /// [`Body::NestedFault`](crate::message::Body::NestedFault).
    pub const NESTED_FAULT: u8 = 11;
    /// [`Body::Accepted`](crate::message::Body::Accepted).
    pub const ACCEPTED: u8 = 17;

    /// [`Effect::Save`](crate::effect::Effect::Save).
    pub const SAVE: u8 = 0;
    /// [`Effect::Leaf`](crate::effect::Effect::Leaf).
    pub const LEAF: u8 = 1;
    /// [`Effect::Value`](crate::effect::Effect::Value).
    pub const VALUE: u8 = 2;
    /// [`Effect::Done`](crate::effect::Effect::Done).
    pub const DONE: u8 = 3;
    /// [`Effect::Resume`](crate::effect::Effect::Resume).
    pub const RESUME: u8 = 6;
    /// [`Effect::Forward`](crate::effect::Effect::Forward).
    pub const FORWARD: u8 = 7;
    /// [`Effect::Offer`](crate::effect::Effect::Offer).
    pub const OFFER: u8 = 14;
    /// [`Effect::Map`](crate::effect::Effect::Map).
    pub const MAP: u8 = 18;
    /// [`Effect::Arm`](crate::effect::Effect::Arm).
    pub const ARM: u8 = 21;
}

/// Where an exit's block begins: behind the header with its length, and the tag.
const BODY: usize = 1 + size_of::<Header>() + 1;

/// Writes a block with its length (one byte: every block is shorter than 128) at the front of `room`; what is behind it.
#[inline(always)]
fn put<'a, T: IntoBytes + Immutable>(room: &'a mut [u8], block: &T) -> Option<&'a mut [u8]> {
    const { assert!(size_of::<T>() < 128, "its length is a varint of one byte") };
    let (length, room) = room.split_first_mut()?;
    let (place, rest) = room.split_at_mut_checked(size_of::<T>())?;
    *length = size_of::<T>() as u8;
    block.write_to(place).ok()?;
    Some(rest)
}

/// Reads a block with its length off the front; what is behind it.
#[inline(always)]
pub fn take<T: FromBytes>(bytes: &[u8]) -> Option<(Fixed<T>, &[u8])> {
    let (length, bytes) = bytes.split_first()?;
    if usize::from(*length) != size_of::<T>() {
        return None;
    }
    let (block, rest) = T::read_from_prefix(bytes).ok()?;
    Some((Fixed(block), rest))
}

/// Writes an exit's message: `tag` names the variant, whose only field is `block`. Its length, or `None` if the page is too short.
#[inline(always)]
pub fn exit<T: IntoBytes + Immutable>(
    page: &mut [u8],
    header: &Header,
    tag: u8,
    block: &T,
) -> Option<usize> {
    let (tag_place, rest) = put(page, header)?.split_first_mut()?;
    *tag_place = tag;
    put(rest, block)?;
    Some(BODY + 1 + size_of::<T>())
}

/// Writes the message that a vector was accepted: nothing but the header.
#[inline(always)]
pub fn accepted(page: &mut [u8], header: &Header) -> Option<usize> {
    *put(page, header)?.first_mut()? = tag::ACCEPTED;
    Some(BODY)
}

/// Writes a nested fault's message, without registers.
#[inline(always)]
pub fn nested_fault(
    page: &mut [u8],
    header: &Header,
    fault: &NestedFault,
    context: &Context,
) -> Option<usize> {
    let (tag_place, rest) = put(page, header)?.split_first_mut()?;
    *tag_place = tag::NESTED_FAULT;
    *put(put(rest, fault)?, context)?.first_mut()? = 0;
    Some(BODY + 1 + size_of::<NestedFault>() + 1 + size_of::<Context>() + 1)
}

/// What is done with a message. There is one call for each hot variant, so that inlining leaves of each only what that variant needs.
pub trait Receive {
    /// The result.
    type Output;
    /// Takes the message.
    fn receive(self, message: &Message<'_>) -> Self::Output;
}

/// Takes a message apart, if it is one of the hot ones, and hands it to `receiver`; gives the receiver back otherwise.
///
/// # Errors
/// The message is not hot, or does not decode: [`Message::read`] knows.
#[inline(always)]
pub fn receive<R: Receive>(bytes: &[u8], receiver: R) -> Result<R::Output, R> {
    let Some((header, rest)) = take::<Header>(bytes) else {
        return Err(receiver);
    };
    let Some((tag, rest)) = rest.split_first() else {
        return Err(receiver);
    };
    macro_rules! hand {
        ($variant:ident) => {
            match take(rest) {
                Some((block, _)) => Ok(receiver.receive(&Message {
                    header,
                    body: Body::$variant(block),
                })),
                None => Err(receiver),
            }
        };
    }
    match *tag {
        tag::CPUID => hand!(Cpuid),
        tag::MSR_READ => hand!(MsrRead),
        tag::MSR_WRITE => hand!(MsrWrite),
        tag::PORT_READ => hand!(PortRead),
        tag::PORT_WRITE => hand!(PortWrite),
        tag::MMIO_READ => hand!(MmioRead),
        tag::MMIO_WRITE => hand!(MmioWrite),
        tag::HYPERCALL => hand!(Hypercall),
        tag::MEMORY_FAULT => hand!(MemoryFault),
        tag::ACCEPTED => Ok(receiver.receive(&Message {
            header,
            body: Body::Accepted,
        })),
        tag::NESTED_FAULT => match nested_fault_parts(rest) {
            Some((fault, context)) => Ok(receiver.receive(&Message {
                header,
                body: Body::NestedFault(fault, context, None),
            })),
            None => Err(receiver),
        },
        _ => Err(receiver),
    }
}

/// Like [`receive`], for a whole page as the kernel has written it: by their places alone. The lengths between the blocks are not looked
/// at, since they cannot be others; what is behind the message is of no message. `None` if the message is not hot.
#[inline(always)]
pub fn receive_page<R: Receive>(page: &[u8; PAGE], receiver: R) -> Option<R::Output> {
    const BLOCK: usize = BODY + 1;
    const CONTEXT: usize = BLOCK + size_of::<NestedFault>() + 1;
    const REGISTERS: usize = CONTEXT + size_of::<Context>();
    let header = at(page, 1)?;
    macro_rules! hand {
        ($variant:ident) => {
            receiver.receive(&Message {
                header,
                body: Body::$variant(at(page, BLOCK)?),
            })
        };
    }
    Some(match page[BODY - 1] {
        tag::CPUID => hand!(Cpuid),
        tag::MSR_READ => hand!(MsrRead),
        tag::MSR_WRITE => hand!(MsrWrite),
        tag::PORT_READ => hand!(PortRead),
        tag::PORT_WRITE => hand!(PortWrite),
        tag::MMIO_READ => hand!(MmioRead),
        tag::MMIO_WRITE => hand!(MmioWrite),
        tag::HYPERCALL => hand!(Hypercall),
        tag::MEMORY_FAULT => hand!(MemoryFault),
        tag::ACCEPTED => receiver.receive(&Message {
            header,
            body: Body::Accepted,
        }),
        tag::NESTED_FAULT if page[REGISTERS] == 0 => receiver.receive(&Message {
            header,
            body: Body::NestedFault(at(page, BLOCK)?, at(page, CONTEXT)?, None),
        }),
        _ => return None,
    })
}

/// The block at a place in a page.
#[inline(always)]
fn at<T: FromBytes>(page: &[u8; PAGE], place: usize) -> Option<Fixed<T>> {
    T::read_from_prefix(page.get(place..)?)
        .ok()
        .map(|(block, _)| Fixed(block))
}

#[inline(always)]
fn nested_fault_parts(bytes: &[u8]) -> Option<(Fixed<NestedFault>, Fixed<Context>)> {
    let (fault, rest) = take(bytes)?;
    let (context, rest) = take(rest)?;
    (*rest.first()? == 0).then_some((fault, context))
}

impl<'m> Message<'m> {
    /// Takes any message apart.
    ///
    /// # Errors
    /// It does not decode.
    pub fn read(bytes: &'m [u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

impl<'a> Effect<'a> {
    /// Writes the effect at the front of `room`; its length.
    ///
    /// # Errors
    /// There is too little room.
    #[inline(always)]
    pub fn write(&self, room: &mut [u8]) -> Result<usize, postcard::Error> {
        match self.write_hot(room) {
            Some(length) => Ok(length),
            None => self.write_any(room),
        }
    }

    #[inline(always)]
    fn write_hot(&self, room: &mut [u8]) -> Option<usize> {
        let (tag_place, rest) = room.split_first_mut()?;
        let (tag, length) = match self {
            Effect::Save(first @ 0..128, count @ 0..128) => {
                *rest.first_chunk_mut()? = [*first as u8, *count as u8];
                (tag::SAVE, 2)
            }
            Effect::Leaf(block) => (tag::LEAF, put_one(rest, &block.0)?),
            Effect::Value(block) => (tag::VALUE, put_one(rest, &block.0)?),
            Effect::Done => (tag::DONE, 0),
            Effect::Resume => (tag::RESUME, 0),
            Effect::Forward(block, []) => {
                *put(rest, &block.0)?.first_mut()? = 0;
                (tag::FORWARD, 2 + size_of_val(&block.0))
            }
            Effect::Offer(block) => (tag::OFFER, put_one(rest, &block.0)?),
            Effect::Map(block) => (tag::MAP, put_one(rest, &block.0)?),
            Effect::Arm(timer, at) => {
                let (place, rest) = rest.split_first_mut()?;
                *place = timer.number();
                (tag::ARM, 1 + put_one(rest, &at.0)?)
            }
            _ => return None,
        };
        *tag_place = tag;
        Some(1 + length)
    }

    #[cold]
    #[inline(never)]
    fn write_any(&self, room: &mut [u8]) -> Result<usize, postcard::Error> {
        postcard::to_slice(self, room).map(|bytes| bytes.len())
    }

    /// Reads one effect off the front of an answer; what is behind it.
    ///
    /// # Errors
    /// It does not decode.
    pub fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), postcard::Error> {
        match Self::take_hot(bytes) {
            Some(found) => Ok(found),
            None => postcard::take_from_bytes(bytes),
        }
    }

    #[inline(always)]
    fn take_hot(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, rest) = bytes.split_first()?;
        macro_rules! block {
            ($variant:ident) => {{
                let (block, rest) = take(rest)?;
                Some((Effect::$variant(block), rest))
            }};
        }
        match *tag {
            tag::SAVE => match rest.split_first_chunk()? {
                ([first @ 0..128, count @ 0..128], rest) => {
                    Some((Effect::Save(u16::from(*first), u16::from(*count)), rest))
                }
                _ => None,
            },
            tag::LEAF => block!(Leaf),
            tag::VALUE => block!(Value),
            tag::DONE => Some((Effect::Done, rest)),
            tag::OFFER => block!(Offer),
            tag::MAP => block!(Map),
            _ => None,
        }
    }
}

/// The effects of an answer, one by one; ends at the first that does not decode.
pub fn effects(bytes: &[u8]) -> impl Iterator<Item = Effect<'_>> + Clone {
    let mut left = bytes;
    core::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let (effect, rest) = Effect::take(left).ok()?;
        left = rest;
        Some(effect)
    })
}

#[inline(always)]
fn put_one<T: IntoBytes + Immutable>(room: &mut [u8], block: &T) -> Option<usize> {
    put(room, block)?;
    Some(1 + size_of::<T>())
}
