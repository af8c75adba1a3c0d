//! The two 8259As (Intel data sheet, order number 231468): sixteen inputs in each word, the master's in the low byte.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The master, and the slave.
const MASTER: usize = 0;
const SLAVE: usize = 1;
/// The master's input that the slave drives: taken by level, whatever ELCR says.
const CASCADE: u8 = 2;

/// How one chip is programmed. Flags are 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Mode {
    /// Vector of input 0.
    pub(crate) base: u8,
    /// The input of highest priority.
    pub(crate) first: u8,
    /// The initialisation word that is expected; 0: none.
    pub(crate) expects: u8,
    /// There will be a fourth.
    pub(crate) fourth_word: u8,
    pub(crate) auto_end: u8,
    pub(crate) auto_rotate: u8,
    pub(crate) special_mask: u8,
    pub(crate) special_nested: u8,
    /// What a read of the even port shows: ISR, not IRR.
    pub(crate) shows_services: u8,
    /// The next read of it is a poll.
    pub(crate) polls: u8,
}

/// Both.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Pics {
    /// Levels of the inputs, without the cascade's.
    pub(crate) lines: u16,
    /// Edges that were not acknowledged.
    pub(crate) edges: u16,
    /// ELCR.
    pub(crate) by_level: u16,
    /// IMR.
    pub(crate) masks: u16,
    /// ISR.
    pub(crate) services: u16,
    reserved: u16,
    pub(crate) modes: [Mode; 2],
}

const PLAIN: Mode = Mode {
    base: 0,
    first: 0,
    expects: 0,
    fourth_word: 0,
    auto_end: 0,
    auto_rotate: 0,
    special_mask: 0,
    special_nested: 0,
    shows_services: 0,
    polls: 0,
};

/// A chip's byte of a word.
fn part(word: u16, chip: usize) -> u8 {
    word.to_le_bytes()[chip]
}

/// The bit of an input in a word.
fn bit(chip: usize, input: u8) -> u16 {
    1 << (8 * chip as u16 + u16::from(input & 7))
}

/// Replaces a chip's byte of a word.
fn put(word: &mut u16, chip: usize, value: u8) {
    let mut bytes = word.to_le_bytes();
    bytes[chip] = value;
    *word = u16::from_le_bytes(bytes);
}

impl Pics {
    /// Vectors set, and what SeaBIOS does not use masked.
    pub(crate) const AS_FIRMWARE_LEAVES_THEM: Pics = Pics {
        lines: 0,
        edges: 0,
        by_level: 0,
        masks: 0x8eb8,
        services: 0,
        reserved: 0,
        modes: [
            Mode {
                base: 0x08,
                ..PLAIN
            },
            Mode {
                base: 0x70,
                ..PLAIN
            },
        ],
    };

    /// IRR.
    fn requests(&self, chip: usize) -> u8 {
        let by_level = part(self.by_level, chip);
        let own = part(self.edges, chip) & !by_level | part(self.lines, chip) & by_level;
        match chip {
            MASTER => own & !(1 << CASCADE) | u8::from(self.first(SLAVE).is_some()) << CASCADE,
            _ => own,
        }
    }

    /// The input that a chip asks for: from the highest priority on, the first one that is requested before one that is served.
    fn first(&self, chip: usize) -> Option<u8> {
        self.first_of(chip, self.requests(chip))
    }

    /// The same of some requests.
    fn first_of(&self, chip: usize, requests: u8) -> Option<u8> {
        let mode = &self.modes[chip];
        let mask = part(self.masks, chip);
        let cascade = if chip == MASTER { 1 << CASCADE } else { 0 };
        let ignored = if mode.special_mask != 0 { mask } else { 0 }
            | if mode.special_nested != 0 { cascade } else { 0 };
        let served = part(self.services, chip) & !ignored;
        let requested = requests & !mask;
        let mut inputs = (0..8).map(|rank| mode.first.wrapping_add(rank) & 7);
        inputs
            .find(|input| (served | requested) >> input & 1 != 0)
            .filter(|input| served >> input & 1 == 0)
    }

    /// Whether they ask the CPU.
    pub(crate) fn asks(&self) -> bool {
        self.first(MASTER).is_some()
    }

    /// The vector that they would give.
    pub(crate) fn vector(&self) -> u8 {
        let (chip, input) = match self.first(MASTER) {
            Some(CASCADE) => (SLAVE, self.first(SLAVE)),
            input => (MASTER, input),
        };
        self.modes[chip].base | input.unwrap_or(7)
    }

    /// The CPU takes the vector. If nothing asks any more, nothing is served: that was input 7's spurious vector.
    pub(crate) fn acknowledge(&mut self) {
        let slave = self.first(SLAVE);
        let Some(input) = self.first(MASTER) else {
            return;
        };
        self.take(MASTER, input);
        if let (CASCADE, Some(input)) = (input, slave) {
            self.take(SLAVE, input);
        }
    }

    fn take(&mut self, chip: usize, input: u8) {
        self.edges &= !bit(chip, input);
        let mode = &mut self.modes[chip];
        if mode.auto_end == 0 {
            self.services |= bit(chip, input);
        } else if mode.auto_rotate != 0 {
            mode.first = (input + 1) & 7;
        }
    }

    /// Whether the output is high as the chips have it by themselves, where what these inputs do not say is not asked for.
    fn is_high(&self, inputs: u16) -> bool {
        let now = |chip| self.requests(chip) & part(inputs, chip);
        let slave = self.first_of(SLAVE, now(SLAVE)).is_some();
        let master = now(MASTER) & !(1 << CASCADE) | u8::from(slave) << CASCADE;
        self.first_of(MASTER, master).is_some()
    }

    /// An input changes; whether the output rises, and be it for as long as a pulse.
    pub(crate) fn line(&mut self, line: u8, level: bool, rose: bool) -> bool {
        if line == CASCADE {
            return false;
        }
        let before = self.is_high(self.lines);
        let bit = 1_u16 << (line & 15);
        self.lines = self.lines & !bit | if level { bit } else { 0 };
        if rose {
            self.edges |= bit & !self.by_level;
        }
        rose && !before && self.is_high(self.lines | bit)
    }

    /// A read of a port.
    pub(crate) fn read(&mut self, port: u16) -> u8 {
        match port {
            0x20 => self.read_even(MASTER),
            0xa0 => self.read_even(SLAVE),
            0x21 => part(self.masks, MASTER),
            0xa1 => part(self.masks, SLAVE),
            0x4d0 => part(self.by_level, MASTER),
            0x4d1 => part(self.by_level, SLAVE),
            _ => 0xff,
        }
    }

    fn read_even(&mut self, chip: usize) -> u8 {
        let mode = &mut self.modes[chip];
        if core::mem::take(&mut mode.polls) == 0 {
            return if mode.shows_services != 0 {
                part(self.services, chip)
            } else {
                self.requests(chip)
            };
        }
        match self.first(chip) {
            Some(input) => {
                self.take(chip, input);
                0x80 | input
            }
            None => 7,
        }
    }

    /// A write to a port. Some inputs are always sensed by edge.
    pub(crate) fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.command(MASTER, value),
            0xa0 => self.command(SLAVE, value),
            0x21 => self.data(MASTER, value),
            0xa1 => self.data(SLAVE, value),
            0x4d0 => self.sense(MASTER, value & 0xf8),
            0x4d1 => self.sense(SLAVE, value & 0xde),
            _ => {}
        }
    }

    fn sense(&mut self, chip: usize, by_level: u8) {
        let changed = part(self.by_level, chip) ^ by_level;
        let edges = part(self.edges, chip) & !changed;
        put(&mut self.edges, chip, edges);
        put(&mut self.by_level, chip, by_level);
    }

    fn command(&mut self, chip: usize, value: u8) {
        let mode = &mut self.modes[chip];
        match value >> 3 & 3 {
            0 => self.end(chip, value >> 5, value & 7),
            1 => {
                mode.polls = value >> 2 & 1;
                if value & 2 != 0 {
                    mode.shows_services = value & 1;
                }
                if value & 0x40 != 0 {
                    mode.special_mask = value >> 5 & 1;
                }
            }
            _ => {
                *mode = Mode {
                    base: mode.base,
                    expects: 2,
                    fourth_word: value & 1,
                    ..PLAIN
                };
                for word in [&mut self.edges, &mut self.masks, &mut self.services] {
                    put(word, chip, 0);
                }
            }
        }
    }

    /// OCW2.
    fn end(&mut self, chip: usize, operation: u8, input: u8) {
        let mode = &mut self.modes[chip];
        let ends = match operation {
            0 | 4 => {
                mode.auto_rotate = operation >> 2;
                None
            }
            1 | 5 => {
                let hidden = if mode.special_mask != 0 {
                    part(self.masks, chip)
                } else {
                    0
                };
                let served = part(self.services, chip) & !hidden;
                (0..8)
                    .map(|rank| mode.first.wrapping_add(rank) & 7)
                    .find(|input| served >> input & 1 != 0)
            }
            3 | 7 => Some(input),
            6 => {
                mode.first = (input + 1) & 7;
                None
            }
            _ => None,
        };
        if let Some(input) = ends {
            self.services &= !bit(chip, input);
            if operation > 4 {
                mode.first = (input + 1) & 7;
            }
        }
    }

    fn data(&mut self, chip: usize, value: u8) {
        let mode = &mut self.modes[chip];
        match mode.expects {
            2 => (mode.base, mode.expects) = (value & 0xf8, 3),
            // How the chips are wired is known.
            3 => mode.expects = if mode.fourth_word != 0 { 4 } else { 0 },
            4 => {
                (mode.auto_end, mode.special_nested, mode.expects) =
                    (value >> 1 & 1, value >> 4 & 1, 0)
            }
            _ => put(&mut self.masks, chip, value),
        }
    }
}
