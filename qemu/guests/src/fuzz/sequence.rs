//! Sequences of instructions, made up of a seed.
//!
//! Interrupts arrive in all of them, at the host; in the guest only where nothing is done that its interrupts could not be delivered
//! through. What QEMU by itself does not do as the manual says is asked of Atoll alone, and not compared.

use core::ops::Range;

use crate::alone::Alone;
use crate::fuzz::random::Random;
use crate::paging::Page;
use crate::run::register::{RAX, RDX};
use crate::run::{Code, IF, Stop};
use crate::system::write_msr;

mod alone;
mod common;
pub mod known;
mod quiet;

/// Instructions of a sequence, at most.
const LONGEST: u64 = 4;
/// Space for them.
const SPACE: usize = 1024;
/// Where INT3s of a sequence's begin that it may go to.
const LANDING: u64 = 512;

static CODE: Alone<Page> = Alone::new(Page::ZERO);
/// What string instructions and others work on.
static SCRATCH: Alone<[Page; 2]> = Alone::new([Page::ZERO; 2]);

/// Which interrupts and instructions a sequence has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The guest's interrupts are on.
    Interrupted,
    /// They are off: tables, segments, and other ways out of here.
    Quiet,
    /// They are off, and only Atoll runs it.
    Alone,
}

/// Which devices have to be put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Devices {
    /// None.
    None,
    /// All but the I/O APIC, which takes long.
    Most,
    /// All.
    All,
}

/// A sequence.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// What kind.
    pub kind: Kind,
    /// Its code, with INT3 behind it.
    pub code: Code,
    /// How many bytes it has.
    pub length: usize,
    /// General registers; RSP is only used if it is not 0.
    pub general: [u64; 16],
    /// RFLAGS.
    pub flags: u64,
    /// Which devices have to be put right behind it.
    pub devices: Devices,
    /// Whether tables have to.
    pub tables: bool,
    /// Offsets at which RAX and RDX have the time: behind each RDTSC, up to where both are forgotten.
    timed: [Range<u64>; LONGEST as usize],
}

/// Where instructions are written.
pub(crate) struct Writer<'r> {
    pub(crate) random: &'r mut Random,
    length: usize,
    pub(crate) devices: Devices,
    pub(crate) tables: bool,
    timed: [Range<u64>; LONGEST as usize],
}

impl<'r> Writer<'r> {
    /// At the beginning of the code.
    fn new(random: &'r mut Random) -> Self {
        Self {
            random,
            length: 0,
            devices: Devices::None,
            tables: false,
            timed: [const { 0..0 }; LONGEST as usize],
        }
    }

    /// The sequence that has been written.
    fn done(self, kind: Kind, general: [u64; 16], flags: u64) -> Sequence {
        Sequence {
            kind,
            code: Code(code()),
            length: self.length,
            general,
            flags,
            devices: self.devices,
            tables: self.tables,
            timed: self.timed,
        }
    }

    /// RDTSC, and forget it.
    pub(crate) fn read_clock(&mut self) {
        self.bytes(&[0x0f, 0x31]);
        let begin = self.length as u64;
        self.bytes(&[0x31, 0xc0, 0x31, 0xd2]);
        // It may be stopped there, by a breakpoint or a step.
        if let Some(timed) = self.timed.iter_mut().find(|timed| timed.is_empty()) {
            *timed = begin..self.length as u64;
        }
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.length < SPACE {
                // SAFETY: it lies within the page, and no code runs there now.
                unsafe {
                    CODE.get()
                        .cast::<u8>()
                        .wrapping_add(self.length)
                        .write_volatile(*byte)
                };
                self.length += 1;
            }
        }
    }

    /// MOV of 32 bits to EAX (0) to EDI (7).
    pub(crate) fn load32(&mut self, register: u8, value: u64) {
        self.bytes(&[0xb8 + register]);
        self.bytes(&(value as u32).to_le_bytes());
    }

    /// MOV of 64 bits to RAX (0) to RDI (7).
    pub(crate) fn load64(&mut self, register: u8, value: u64) {
        self.bytes(&[0x48, 0xb8 + register]);
        self.bytes(&value.to_le_bytes());
    }

    /// One of these instructions.
    pub(crate) fn one_of(&mut self, all: &[&[u8]]) {
        let bytes = self.random.of(all);
        self.bytes(bytes);
    }

    /// ECX, EDX and EAX for WRMSR.
    pub(crate) fn model_specific(&mut self, index: u64, value: u64) {
        self.load32(1, index);
        self.load32(0, value);
        self.load32(2, value >> 32);
    }

    /// Where the sequence's own code is.
    pub(crate) fn here(&self) -> u64 {
        code()
    }

    /// An address to go to: INT3s of this sequence's, or the same with upper bits that make it no address, or one of nothing. Cut down to
    /// 32 bits, as in compatibility mode, it is the former: what is executed elsewhere would be anything.
    pub(crate) fn target(&mut self) -> u64 {
        let near = code() + LANDING + self.random.below(64);
        if self.random.once_in(3) {
            near | 1 << 40 | self.random.value() << 41
        } else {
            near
        }
    }
}

/// An address where nothing is, or no address.
fn nowhere(random: &mut Random) -> u64 {
    random.value() | 1 << 40
}

fn code() -> u64 {
    CODE.get().addr() as u64
}

/// RAM for the sequences: two pages.
pub(crate) fn scratch() -> u64 {
    SCRATCH.get().addr() as u64
}

/// Has each entry of a system call lead to INT3s of the sequence's own, until a sequence sets another. As they are at reset they lead to
/// address 0, and what is executed there is the firmware's, if there is one.
pub fn set_entries() {
    for index in common::ENTRIES {
        let _ = write_msr(index, code() + LANDING);
    }
}

/// Memory for a sequence, as if there had been none before: one that only one machine has run leaves nothing to the next.
fn clear(pattern: u64) {
    for offset in 0..SPACE + 16 {
        // SAFETY: no code runs there now.
        unsafe {
            CODE.get()
                .cast::<u8>()
                .wrapping_add(offset)
                .write_volatile(0xcc)
        };
    }
    for word in 0..2 * 512 {
        // SAFETY: it lies within the pages, and nobody holds a reference.
        unsafe {
            SCRATCH
                .get()
                .cast::<u64>()
                .wrapping_add(word)
                .write_volatile(pattern.rotate_left(word as u32))
        };
    }
}

impl Sequence {
    /// The next sequence. Only one is there at a time.
    pub fn next(random: &mut Random) -> Self {
        clear(random.any());
        let kind = random.of(&[
            Kind::Interrupted,
            Kind::Interrupted,
            Kind::Quiet,
            Kind::Quiet,
            Kind::Alone,
        ]);
        let mut general = [0; 16];
        for register in &mut general {
            *register = random.value();
        }
        // What is stored to is the sequence's own, or nothing: other memory has this program in it.
        for register in [6, 7] {
            let nowhere = nowhere(random);
            general[register] = random.of(&[scratch() + 256, scratch() + 4090, nowhere]);
        }
        let nowhere = nowhere(random);
        general[4] = if kind != Kind::Interrupted && random.once_in(8) {
            nowhere
        } else {
            0
        };
        let mut flags = random.some(0x8d5 | 1 << 10);
        if kind == Kind::Interrupted {
            flags |= IF;
        }
        let count = 1 + random.below(LONGEST);
        let mut writer = Writer::new(random);
        for _ in 0..count {
            match kind {
                Kind::Interrupted => common::instruction(&mut writer, true),
                Kind::Quiet if writer.random.once_in(2) => common::instruction(&mut writer, false),
                Kind::Quiet => quiet::instruction(&mut writer),
                Kind::Alone => alone::instruction(&mut writer),
            }
        }
        writer.done(kind, general, flags)
    }

    /// What it ended with, without what is the time.
    #[must_use]
    pub fn timeless(&self, mut stop: Stop) -> Stop {
        if self.timed.iter().any(|timed| timed.contains(&stop.offset)) {
            stop.general[RAX] = 0;
            stop.general[RDX] = 0;
        }
        stop
    }
}
