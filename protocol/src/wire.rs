//! The hot part of the encoding, by hand: the same bytes as postcard's derive makes, in plain loads and stores.
//!
//! An exit's message and the usual answer to it are one-byte tags around one fixed-layout block: nothing about them varies but the
//! block's content. Derived code does not know that; it costs several times as much. Whatever is not hot goes through postcard, and the
//! tests hold both against each other, in both directions.

use zerocopy::{FromBytes, Immutable, IntoBytes};

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
    /// [`Body::NestedFault`](crate::message::Body::NestedFault).
    pub const NESTED_FAULT: u8 = 10;

    pub(super) const SAVE: u8 = 0;
    pub(super) const LEAF: u8 = 1;
    pub(super) const VALUE: u8 = 2;
    pub(super) const DONE: u8 = 3;
    pub(super) const RESUME: u8 = 6;
    pub(super) const FORWARD: u8 = 7;
    pub(super) const OFFER: u8 = 14;
    pub(super) const MAP: u8 = 18;
    pub(super) const ARM: u8 = 21;
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

/// Reads a block with its length off the front.
#[inline(always)]
fn take<T: FromBytes>(bytes: &[u8]) -> Option<(Fixed<T>, &[u8])> {
    let (length, bytes) = bytes.split_first()?;
    if usize::from(*length) != size_of::<T>() {
        return None;
    }
    let (block, rest) = T::read_from_prefix(bytes).ok()?;
    Some((Fixed(block), rest))
}

/// Writes an exit's message: `tag` names the variant, whose only field is `block`. Its length, or `None` if the page is too short.
#[inline(always)]
pub fn exit<T: IntoBytes + Immutable>(page: &mut [u8], header: &Header, tag: u8, block: &T) -> Option<usize> {
    let (tag_place, rest) = put(page, header)?.split_first_mut()?;
    *tag_place = tag;
    put(rest, block)?;
    Some(BODY + 1 + size_of::<T>())
}

/// Writes a nested fault's message, without registers.
#[inline(always)]
pub fn nested_fault(page: &mut [u8], header: &Header, fault: &NestedFault, context: &Context) -> Option<usize> {
    let (tag_place, rest) = put(page, header)?.split_first_mut()?;
    *tag_place = tag::NESTED_FAULT;
    *put(put(rest, fault)?, context)?.first_mut()? = 0;
    Some(BODY + 1 + size_of::<NestedFault>() + 1 + size_of::<Context>() + 1)
}

impl<'m> Message<'m> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// It does not decode.
    #[inline(always)]
    pub fn read(bytes: &'m [u8]) -> Result<Self, postcard::Error> {
        match Self::read_hot(bytes) {
            Some(message) => Ok(message),
            None => Self::read_any(bytes),
        }
    }

    /// Takes a message apart if it is one of the hot ones. Apart from [`Message::read`], so that a caller can keep the rare way out of
    /// the usual one's registers.
    #[inline(always)]
    #[must_use]
    pub fn read_hot(bytes: &'m [u8]) -> Option<Self> {
        let (header, rest) = take::<Header>(bytes)?;
        let (tag, rest) = rest.split_first()?;
        let body = match *tag {
            tag::CPUID => Body::Cpuid(take(rest)?.0),
            tag::MSR_READ => Body::MsrRead(take(rest)?.0),
            tag::MSR_WRITE => Body::MsrWrite(take(rest)?.0),
            tag::PORT_READ => Body::PortRead(take(rest)?.0),
            tag::PORT_WRITE => Body::PortWrite(take(rest)?.0),
            tag::MMIO_READ => Body::MmioRead(take(rest)?.0),
            tag::MMIO_WRITE => Body::MmioWrite(take(rest)?.0),
            tag::HYPERCALL => Body::Hypercall(take(rest)?.0),
            tag::NESTED_FAULT => {
                let (fault, rest) = take(rest)?;
                let (context, rest) = take(rest)?;
                if *rest.first()? != 0 {
                    return None;
                }
                Body::NestedFault(fault, context, None)
            }
            _ => return None,
        };
        Some(Message { header, body })
    }

    #[cold]
    #[inline(never)]
    fn read_any(bytes: &'m [u8]) -> Result<Self, postcard::Error> {
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
                *place = timer.0;
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
    #[inline(always)]
    pub fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), postcard::Error> {
        match Self::take_hot(bytes) {
            Some(found) => Ok(found),
            None => Self::take_any(bytes),
        }
    }

    #[inline(always)]
    fn take_hot(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, rest) = bytes.split_first()?;
        Some(match *tag {
            tag::SAVE => {
                let ([first @ 0..128, count @ 0..128], rest) = rest.split_first_chunk()? else { return None };
                (Effect::Save(u16::from(*first), u16::from(*count)), rest)
            }
            tag::LEAF => {
                let (block, rest) = take(rest)?;
                (Effect::Leaf(block), rest)
            }
            tag::VALUE => {
                let (block, rest) = take(rest)?;
                (Effect::Value(block), rest)
            }
            tag::DONE => (Effect::Done, rest),
            tag::RESUME => (Effect::Resume, rest),
            tag::FORWARD => {
                let (block, rest) = take(rest)?;
                let (0, rest) = rest.split_first()? else { return None };
                (Effect::Forward(block, &[]), rest)
            }
            tag::OFFER => {
                let (block, rest) = take(rest)?;
                (Effect::Offer(block), rest)
            }
            tag::MAP => {
                let (block, rest) = take(rest)?;
                (Effect::Map(block), rest)
            }
            tag::ARM => {
                let (timer, rest) = rest.split_first()?;
                let (at, rest) = take(rest)?;
                (Effect::Arm(crate::units::TimerId(*timer), at), rest)
            }
            _ => return None,
        })
    }

    #[cold]
    #[inline(never)]
    fn take_any(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), postcard::Error> {
        postcard::take_from_bytes(bytes)
    }
}

#[inline(always)]
fn put_one<T: IntoBytes + Immutable>(room: &mut [u8], block: &T) -> Option<usize> {
    put(room, block)?;
    Some(1 + size_of::<T>())
}
