//! One 8259A programmable interrupt controller, after Intel's data sheet (order number 231468).

mod succession;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One 8259A. Flags are 0 or 1.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub(crate) struct Chip {
    /// Levels of the inputs.
    lines: u8,
    /// Rising edges not yet acknowledged.
    latch: u8,
    /// Inputs that a slave drives. They are taken by level: the slave's output stays high while it has a request.
    cascade: u8,
    /// ELCR: inputs sensed by level.
    pub(super) level: u8,
    /// IMR.
    mask: u8,
    /// ISR.
    service: u8,
    /// Vector of input 0 (ICW2).
    base: u8,
    /// The input of highest priority.
    first: u8,
    /// ICW4: end of interrupt at the acknowledge.
    auto_end: u8,
    /// OCW2: rotate at an automatic end of interrupt.
    auto_rotate: u8,
    /// OCW3: special mask mode.
    special_mask: u8,
    /// ICW4: special fully nested mode.
    special_nested: u8,
    /// OCW3: a read shows ISR, not IRR.
    show_service: u8,
    /// OCW3: the next read is a poll.
    poll: u8,
    /// The initialisation word expected next at the odd port: 2 to 4; 0 when initialised.
    expect: u8,
    /// ICW1: ICW4 will follow.
    long: u8,
}

impl Chip {
    /// As a PC's firmware leaves it: vectors set, and what it does not use masked.
    pub(super) fn new(base: u8, cascade: u8, mask: u8) -> Chip {
        Chip {
            base,
            cascade,
            mask,
            ..Chip::default()
        }
    }

    /// IRR as the guest sees it.
    #[inline(always)]
    fn requests(&self) -> u8 {
        let level = self.level | self.cascade;
        self.latch & !level | self.lines & level
    }

    /// The input that would be served now, unless a service of the same or a higher priority is going on.
    #[inline(always)]
    pub(super) fn highest(&self) -> Option<u8> {
        self.winner(self.requests())
    }

    /// Whether the output is high as the chip itself has it, where a request ends with its input: of these inputs, which are high.
    pub(super) fn is_high(&self, inputs: u8) -> bool {
        self.winner(self.requests() & inputs).is_some()
    }

    /// Levels of the inputs.
    pub(super) fn inputs(&self) -> u8 {
        self.lines
    }

    #[inline(always)]
    fn winner(&self, requests: u8) -> Option<u8> {
        let pending = requests & !self.mask;
        if pending == 0 {
            return None;
        }
        let mut service = self.service;
        if self.special_mask != 0 {
            service &= !self.mask;
        }
        if self.special_nested != 0 {
            service &= !self.cascade;
        }
        let rank = pending.rotate_right(u32::from(self.first)).trailing_zeros();
        let busy = service.rotate_right(u32::from(self.first)).trailing_zeros();
        (rank < busy).then_some((rank as u8).wrapping_add(self.first) & 7)
    }

    /// The vector of an input.
    #[inline(always)]
    pub(super) fn vector(&self, input: u8) -> u8 {
        self.base | input & 7
    }

    /// Whether a slave drives this input.
    pub(super) fn cascades(&self, input: u8) -> bool {
        self.cascade & 1 << input != 0
    }

    /// An input changes.
    pub(super) fn line(&mut self, input: u8, level: bool, rose: bool) {
        let bit = 1 << (input & 7);
        self.lines = if level {
            self.lines | bit
        } else {
            self.lines & !bit
        };
        if rose && self.level & bit == 0 {
            self.latch |= bit;
        }
    }

    /// ELCR is written. An edge seen under the old setting is forgotten.
    pub(super) fn set_level(&mut self, level: u8) {
        self.latch &= !(self.level ^ level);
        self.level = level;
    }

    /// The acknowledge cycle for `input`.
    pub(super) fn acknowledge(&mut self, input: u8) {
        let bit = 1 << input;
        self.latch &= !bit;
        if self.auto_end == 0 {
            self.service |= bit;
        } else if self.auto_rotate != 0 {
            self.first = (input + 1) & 7;
        }
    }

    /// Whether the acknowledge cycle for `vector`, which is what it would read, leaves everything as it is: the input is this chip's own and
    /// sensed by level, and its service and its priority end with the cycle.
    #[inline(always)]
    pub(super) fn is_unmoved(&self, vector: u8) -> bool {
        // A slave that asks has put its own vector there.
        let own = vector & !7 == self.base && self.lines & self.cascade == 0;
        let held = self.level & !self.latch & !self.cascade & 1 << (vector & 7);
        own && held != 0 && self.auto_end != 0 && self.auto_rotate == 0
    }

    /// A read of the even port.
    pub(super) fn read_command(&mut self) -> u8 {
        if self.poll != 0 {
            self.poll = 0;
            return match self.highest() {
                Some(input) => {
                    self.acknowledge(input);
                    0x80 | input
                }
                None => 7,
            };
        }
        self.shown()
    }

    /// A read of the even port, unless it is a poll.
    #[inline(always)]
    pub(super) fn peek_command(&self) -> Option<u8> {
        (self.poll == 0).then(|| self.shown())
    }

    #[inline(always)]
    fn shown(&self) -> u8 {
        if self.show_service != 0 {
            self.service
        } else {
            self.requests()
        }
    }

    /// A read of the odd port.
    #[inline(always)]
    pub(super) fn read_mask(&self) -> u8 {
        self.mask
    }

    /// A write to the even port: ICW1, OCW2 or OCW3, told apart by bits 4 and 3.
    pub(super) fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            *self = Chip {
                lines: self.lines,
                cascade: self.cascade,
                level: self.level,
                base: self.base,
                expect: 2,
                long: value & 1,
                ..Chip::default()
            };
        } else if value & 0x08 != 0 {
            self.poll = value >> 2 & 1;
            if value & 0x02 != 0 {
                self.show_service = value & 1;
            }
            if value & 0x40 != 0 {
                self.special_mask = value >> 5 & 1;
            }
        } else {
            self.operate(value >> 5, value & 7);
        }
    }

    /// OCW2: `operation` is R, SL, EOI.
    fn operate(&mut self, operation: u8, input: u8) {
        match operation {
            0 | 4 => self.auto_rotate = operation >> 2,
            1 | 5 => {
                // In special mask mode a non-specific end does not see services that are masked.
                let visible = if self.special_mask != 0 {
                    self.service & !self.mask
                } else {
                    self.service
                };
                if visible != 0 {
                    let rank = visible.rotate_right(u32::from(self.first)).trailing_zeros() as u8;
                    self.end(rank.wrapping_add(self.first) & 7, operation == 5);
                }
            }
            3 | 7 => self.end(input, operation == 7),
            6 => self.first = (input + 1) & 7,
            _ => {}
        }
    }

    fn end(&mut self, input: u8, rotate: bool) {
        self.service &= !(1 << input);
        if rotate {
            self.first = (input + 1) & 7;
        }
    }

    /// A write to the odd port: ICW2 to ICW4, or OCW1.
    pub(super) fn write_mask(&mut self, value: u8) {
        match self.expect {
            2 => {
                self.base = value & 0xf8;
                self.expect = 3;
            }
            // ICW3 says how the chips are wired; a PC's wiring is fixed.
            3 => self.expect = if self.long != 0 { 4 } else { 0 },
            4 => {
                self.auto_end = value >> 1 & 1;
                self.special_nested = value >> 4 & 1;
                self.expect = 0;
            }
            _ => self.mask = value,
        }
    }
}
