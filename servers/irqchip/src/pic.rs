//! The PC's two 8259As: the slave's output drives input 2 of the master, ELCR (ports 0x4d0, 0x4d1) says which inputs are sensed by level.

mod chip;

use atoll_protocol::interchange::PicState;
use chip::Chip;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Input of the master that the slave drives.
const CASCADE: u8 = 2;

/// What is masked when a PC's firmware is done (SeaBIOS's): open are the timer, the keyboard, the cascade and the diskette; the clock, the mouse,
/// the coprocessor and the first disk.
const MASKS: [u8; 2] = [0xb8, 0x8e];

/// Both chips. One vault line.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Pics {
    master: Chip,
    slave: Chip,
    /// 1 while the master asks the CPU for an acknowledge cycle.
    pub output: u8,
    reserved: [u8; 31],
}

impl Pics {
    /// As a PC's firmware leaves them.
    #[must_use]
    pub fn new() -> Pics {
        Pics {
            master: Chip::new(0x08, 1 << CASCADE, MASKS[0]),
            slave: Chip::new(0x70, 0, MASKS[1]),
            ..Pics::default()
        }
    }

    /// What another must know of them to go on: master, slave.
    pub(crate) fn export(&self) -> [PicState; 2] {
        [self.master.export(), self.slave.export()]
    }

    /// The chips that go on from there.
    pub(crate) fn import([master, slave]: &[PicState; 2]) -> Pics {
        let (master, slave) = (Chip::import(master, 1 << CASCADE), Chip::import(slave, 0));
        let mut pics = Pics {
            master,
            slave,
            ..Pics::default()
        };
        pics.settle();
        pics
    }

    /// IRQ 0 to 15 changes. IRQ 2 is no input: the slave is there. True if the output rises by that, be it for a moment.
    ///
    /// A request is kept until an acknowledge cycle asks for it, since devices' pulses are short here. The chip's own output ends with its
    /// inputs: who has no acknowledge cycles, but looks at the output's edges, sees one for each pulse.
    pub fn line(&mut self, irq: u8, level: bool, rose: bool) -> bool {
        let was_high = self.is_high(0);
        match irq {
            CASCADE => return false,
            0..8 => self.master.line(irq, level, rose),
            _ => self.slave.line(irq & 7, level, rose),
        }
        self.settle();
        rose && !was_high && self.is_high(1_u16 << (irq & 15))
    }

    /// Whether the output is high if that depends on the inputs alone, these beside.
    fn is_high(&self, beside: u16) -> bool {
        let [to_master, to_slave] = beside.to_le_bytes();
        let slave = self.slave.is_high(self.slave.inputs() | to_slave);
        let inputs = self.master.inputs() & !(1 << CASCADE) | u8::from(slave) << CASCADE;
        self.master.is_high(inputs | to_master)
    }

    /// The vector that an acknowledge cycle would read now.
    #[must_use]
    pub fn vector(&self) -> u8 {
        match self.master.highest() {
            Some(input) if self.master.cascades(input) => {
                self.slave.vector(self.slave.highest().unwrap_or(7))
            }
            input => self.master.vector(input.unwrap_or(7)),
        }
    }

    /// Whether the acknowledge cycle for `vector`, which is what it would read, changes nothing at all: then the same is asked for again.
    #[inline(always)]
    pub(crate) fn asks_again(&self, vector: u8) -> bool {
        self.master.is_unmoved(vector)
    }

    /// The acknowledge cycle. A request that is gone meanwhile reads as input 7 and is not in service (data sheet, "spurious").
    pub fn acknowledge(&mut self) {
        if let Some(input) = self.master.highest() {
            self.master.acknowledge(input);
            if self.master.cascades(input)
                && let Some(input) = self.slave.highest()
            {
                self.slave.acknowledge(input);
            }
        }
        self.settle();
    }

    /// What a port reads as where reading changes nothing: everything but a poll.
    #[inline(always)]
    #[must_use]
    pub fn peek(&self, port: u16) -> Option<u8> {
        match port {
            0x21 => Some(self.master.read_mask()),
            0xa1 => Some(self.slave.read_mask()),
            0x20 => self.master.peek_command(),
            0xa0 => self.slave.peek_command(),
            _ => None,
        }
    }

    /// Reads a port.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 => self.master.read_command(),
            0x21 => self.master.read_mask(),
            0xa0 => self.slave.read_command(),
            0xa1 => self.slave.read_mask(),
            0x4d0 => self.master.level,
            0x4d1 => self.slave.level,
            _ => 0xff,
        };
        self.settle();
        value
    }

    /// Writes a port. In ELCR the timer, the keyboard, the cascade, the clock and the coprocessor are always sensed by edge.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.master.write_command(value),
            0x21 => self.master.write_mask(value),
            0xa0 => self.slave.write_command(value),
            0xa1 => self.slave.write_mask(value),
            0x4d0 => self.master.set_level(value & 0xf8),
            0x4d1 => self.slave.set_level(value & 0xde),
            _ => {}
        }
        self.settle();
    }

    /// Lets the slave's output reach the master, and the master's the CPU.
    fn settle(&mut self) {
        self.master
            .line(CASCADE, self.slave.highest().is_some(), false);
        self.output = u8::from(self.master.highest().is_some());
    }
}
