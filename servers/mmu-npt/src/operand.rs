//! Memory operands that the emulator computes itself: the source and destination of string forms.
//!
//! Segment checks follow APM vol. 2 §4.8 and §4.12; translation is [`walk`](crate::walk)'s. An operand may lie across two pages.

use atoll_protocol::role::{Mmu, MmuEffect};
use atoll_protocol::units::Gpa;
use atoll_protocol::vcpu::{Context, Exception, Registers, Segment};
use atoll_sdk::{Effects, GuestMemory};

use crate::mode::{CodeSize, SEGMENT_BIG, code_size, is_protected};
use crate::ram;
use crate::walk::{Access, Walk, WalkError, walk};

/// ES in encoding order: the destination of string forms.
pub(crate) const ES: u8 = 0;
const SS: u8 = 2;
const FS: u8 = 4;
/// Page size; larger pages are made of these.
const PAGE: u64 = 0x1000;

/// The linear address of `size` bytes at `offset` in a segment.
pub(crate) fn linear(
    context: &Context,
    registers: &Registers,
    segment: u8,
    offset: u64,
    size: u64,
    access: Access,
) -> Result<u64, Exception> {
    let vector = if segment == SS { 12 } else { 13 };
    let refused = Exception {
        vector,
        ..Exception::PROTECTION
    };
    let descriptor = registers
        .segments
        .get(usize::from(segment))
        .copied()
        .unwrap_or_default();
    if code_size(context) == CodeSize::Bits64 {
        let base = if segment >= FS { descriptor.base } else { 0 };
        let linear = base.wrapping_add(offset);
        let last = linear.wrapping_add(size - 1);
        return if canonical(linear) && canonical(last) {
            Ok(linear)
        } else {
            Err(refused)
        };
    }
    if in_limits(context, &descriptor, offset, size, access) {
        Ok(descriptor.base.wrapping_add(offset) & 0xffff_ffff)
    } else {
        Err(refused)
    }
}

fn canonical(linear: u64) -> bool {
    (linear as i64) << 16 >> 16 == linear as i64
}

fn in_limits(
    context: &Context,
    descriptor: &Segment,
    offset: u64,
    size: u64,
    access: Access,
) -> bool {
    const PRESENT: u16 = 1 << 7;
    const MEMORY: u16 = 1 << 4;
    const CODE: u16 = 1 << 3;
    const EXPAND_DOWN: u16 = 1 << 2;
    /// Writable for data, readable for code.
    const WRITABLE: u16 = 1 << 1;
    let attributes = descriptor.attributes;
    let limit = u64::from(descriptor.limit);
    let last = offset.saturating_add(size - 1);
    if !is_protected(context) {
        return last <= limit;
    }
    if attributes & (PRESENT | MEMORY) != PRESENT | MEMORY {
        return false;
    }
    let code = attributes & CODE != 0;
    let right = match access {
        Access::Write => !code && attributes & WRITABLE != 0,
        _ => !code || attributes & WRITABLE != 0,
    };
    let inside = if !code && attributes & EXPAND_DOWN != 0 {
        let top = if attributes & SEGMENT_BIG != 0 {
            0xffff_ffff
        } else {
            0xffff
        };
        offset > limit && last <= top
    } else {
        last <= limit
    };
    right && inside
}

/// An operand's translation, in one part or, across a page boundary, in two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    first: Walk,
    second: Option<Walk>,
    /// Bytes in the first page.
    split: usize,
    access: Access,
}

impl Operand {
    /// Translates `size` bytes (at most a page) at `linear`.
    pub(crate) fn new(
        context: &Context,
        guest: &GuestMemory<'_>,
        physical_bits: u64,
        linear: u64,
        size: usize,
        access: Access,
    ) -> Result<Operand, Exception> {
        let translate = |linear| {
            walk(context, guest, physical_bits, linear, access).map_err(|error| match error {
                WalkError::PageFault(code) => Exception::page_fault(code, linear),
                WalkError::TableNotRam => Exception::PROTECTION,
            })
        };
        let split = size.min(room(linear) as usize);
        let first = translate(linear)?;
        let next = linear.wrapping_add(split as u64);
        let next = if code_size(context) == CodeSize::Bits64 {
            next
        } else {
            next & 0xffff_ffff
        };
        let second = if split < size {
            Some(translate(next)?)
        } else {
            None
        };
        Ok(Operand {
            first,
            second,
            split,
            access,
        })
    }

    /// Where it begins.
    pub(crate) fn gpa(&self) -> u64 {
        self.first.gpa
    }

    /// Whether all of it is RAM.
    pub(crate) fn is_ram(&self, memory: u64) -> bool {
        ram::is_ram(memory, self.first.gpa)
            && self
                .second
                .is_none_or(|second| ram::is_ram(memory, second.gpa))
    }

    /// Copies it out, if it is RAM.
    pub(crate) fn read(&self, guest: &GuestMemory<'_>, into: &mut [u8]) -> Option<()> {
        let (head, tail) = into.split_at_mut_checked(self.split)?;
        ram::read(guest, self.first.gpa, head)?;
        match self.second {
            Some(second) => ram::read(guest, second.gpa, tail),
            None => Some(()),
        }
    }

    /// Its value as a number of up to eight bytes, if it is RAM.
    pub(crate) fn value(&self, guest: &GuestMemory<'_>, size: u8) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(guest, bytes.get_mut(..usize::from(size))?)?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Writes it, by effect.
    pub(crate) fn write(&self, effects: &mut Effects<'_, Mmu>, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(self.split.min(bytes.len()));
        if !head.is_empty() {
            effects.emit(MmuEffect::GuestWrite(Gpa(self.first.gpa), head));
        }
        if let Some(second) = self.second.filter(|_| !tail.is_empty()) {
            effects.emit(MmuEffect::GuestWrite(Gpa(second.gpa), tail));
        }
    }

    /// Sets the accessed and dirty bits.
    pub(crate) fn mark(&self, effects: &mut Effects<'_, Mmu>) {
        self.first.mark(self.access, effects);
        if let Some(second) = self.second {
            second.mark_beside(&self.first, self.access, effects);
        }
    }
}

/// Bytes from `linear` to the end of its page.
pub(crate) fn room(linear: u64) -> u64 {
    PAGE - linear % PAGE
}
