//! The port's state: a register file, a byte of interrupts, two rings, and the moments at which something is due.

use atoll_protocol::message::Machine;
use atoll_protocol::role::console_mail::{INPUT_WINDOW, OUTPUT_BYTES, OUTPUT_WINDOW};
use atoll_protocol::units::{LineId, ServerId};
use atoll_sdk::Clock;
use atoll_uart::registers::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::Ring;

/// Registers in the file, by offset. IIR's place holds FCR; those of status are not used.
pub(crate) const FILE: usize = 8;
/// Causes of an interrupt: an error of the line.
pub(crate) const BREAKS: u8 = 1 << 0;
/// Characters at the trigger level, or that have waited long enough.
pub(crate) const TIMEOUT: u8 = 1 << 2;
/// The transmitter is ready.
pub(crate) const READY: u8 = 1 << 3;
/// A modem line has changed.
pub(crate) const MODEM: u8 = 1 << 4;
/// See `TIMEOUT`; this one is never latched.
const RECEIVED: u8 = 1 << 1;
/// IER's bit and IIR's value for each cause, from the highest priority on (data sheet, table IV).
const PRIORITIES: [(u8, u8); 5] = [
    (IER_LINE, IIR_LINE),
    (IER_RECEIVED, IIR_RECEIVED),
    (IER_RECEIVED, IIR_TIMEOUT),
    (IER_TRANSMIT, IIR_TRANSMIT),
    (IER_MODEM, IIR_MODEM),
];
/// The modem status register's deltas.
pub(crate) const DELTAS: u8 = 0x0f;
/// Nothing is due.
pub(crate) const NEVER: u64 = u64::MAX;

/// A set of causes.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Causes(pub(crate) u8);

impl Causes {
    pub(crate) fn set(&mut self, cause: u8) {
        self.0 |= cause;
    }

    pub(crate) fn retain(&mut self, causes: u8) {
        self.0 &= causes;
    }

    pub(crate) fn has(self, cause: u8) -> bool {
        self.0 & cause != 0
    }
}

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// Registers as they were written, by offset.
    pub(crate) file: [u8; FILE],
    /// The divisor latch.
    pub(crate) latch: u16,
    /// Modem status: what has changed since it was read.
    pub(crate) deltas: u8,
    /// Latched causes of an interrupt.
    pub(crate) causes: Causes,
    /// The interrupt line, and 1 while it is high.
    pub(crate) line: u8,
    pub(crate) raised: u8,
    /// Characters that the console may still send.
    pub(crate) granted: u8,
    /// The console.
    pub(crate) console: u8,
    /// Characters ever mailed, and ever acknowledged.
    pub(crate) mailed: u32,
    pub(crate) acknowledged: u32,
    /// Host's counter.
    pub(crate) clock: Clock,
    /// When the last mail went.
    pub(crate) mailed_at: u64,
    /// When what waits in `output` is to go.
    pub(crate) sends_at: u64,
    /// When the console is told about room.
    pub(crate) opens_at: u64,
    /// When a character last came or was read.
    pub(crate) touched: u64,
    /// When the timer expires.
    pub(crate) alarm: u64,
    /// Not used; zero.
    pub(crate) reserved: [u64; 7],
    /// To the console.
    pub(crate) output: Ring<64>,
    /// From the console.
    pub(crate) input: Ring<32>,
    /// Not used; zero.
    pub(crate) rest: [u64; 2],
}

impl State {
    /// As after a reset.
    pub(crate) fn new(machine: &Machine, line: LineId, console: ServerId) -> State {
        State {
            file: [0; FILE],
            latch: 1,
            deltas: 0,
            causes: Causes(0),
            line: line.number(),
            raised: 0,
            granted: 0,
            console: console.number(),
            mailed: 0,
            acknowledged: 0,
            clock: Clock::new(machine),
            mailed_at: NEVER,
            sends_at: NEVER,
            opens_at: NEVER,
            touched: 0,
            alarm: NEVER,
            reserved: [0; 7],
            output: Ring::EMPTY,
            input: Ring::EMPTY,
            rest: [0; 2],
        }
    }

    /// Whether `offset` is a byte of the divisor latch now.
    pub(crate) fn is_latch(&self, offset: u16) -> bool {
        offset < 2 && self.file[3] & LCR_DIVISOR != 0
    }

    pub(crate) fn loops(&self) -> bool {
        self.file[4] & MCR_LOOP != 0
    }

    pub(crate) fn fifos(&self) -> bool {
        self.file[2] & FCR_ENABLE != 0
    }

    /// Characters that the guest can see at once.
    pub(crate) fn depth(&self) -> usize {
        if self.fifos() { 16 } else { 1 }
    }

    /// Characters that it sees.
    pub(crate) fn visible(&self) -> usize {
        self.input.waiting().min(self.depth())
    }

    /// Characters that interrupt.
    fn trigger(&self) -> usize {
        if self.fifos() {
            [1, 4, 8, 14][usize::from(self.file[2] >> 6)]
        } else {
            1
        }
    }

    /// Characters that the console has not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.mailed.wrapping_sub(self.acknowledged) as usize
    }

    /// Whether the guest may write: far from the console's limit, because a guest may not wait for ever.
    pub(crate) fn is_ready(&self) -> bool {
        self.in_flight() < usize::from(OUTPUT_WINDOW / 2) && self.output.waiting() < OUTPUT_BYTES
    }

    /// Room that the console has not been told of.
    pub(crate) fn room(&self) -> usize {
        usize::from(INPUT_WINDOW).saturating_sub(self.input.waiting() + usize::from(self.granted))
    }

    /// Whether anybody is going to read.
    pub(crate) fn listens(&self) -> bool {
        !self.loops() && (self.file[4] & MCR_RTS != 0 || self.file[1] & IER_RECEIVED != 0)
    }

    /// LSR.
    pub(crate) fn line_status(&self) -> u8 {
        let bit = |is: bool, bits: u8| if is { bits } else { 0 };
        let data = bit(self.input.waiting() != 0, LSR_DATA);
        data | bit(self.causes.has(BREAKS), LSR_OVERRUN) | bit(self.is_ready(), LSR_EMPTY)
    }

    /// MSR's upper half: a terminal that is always there, or in loopback our own outputs crossed over.
    pub(crate) fn modem_lines(&self) -> u8 {
        if !self.loops() {
            return MSR_CONNECTED;
        }
        let mcr = self.file[4];
        // RTS, DTR, OUT1, OUT2 come in as CTS, DSR, RI, DCD.
        (mcr & MCR_RTS) << 3 | (mcr & MCR_DTR) << 5 | (mcr & (MCR_OUT1 | 1 << 3)) << 4
    }

    /// IIR's lower bits: the enabled cause of highest priority.
    pub(crate) fn identification(&self) -> u8 {
        let mut causes = self.causes;
        if self.visible() == 0 {
            causes.retain(!TIMEOUT);
        }
        if self.visible() >= self.trigger() {
            causes.set(RECEIVED);
        }
        let enabled = |(place, (enable, _)): &(usize, &(u8, u8))| {
            causes.has(1 << place) && self.file[1] & enable != 0
        };
        PRIORITIES
            .iter()
            .enumerate()
            .find(enabled)
            .map_or(IIR_NONE, |(_, (_, which))| *which)
    }

    /// Whether the interrupt line is to be high. OUT2 connects it; loopback takes it off.
    pub(crate) fn wants_line(&self) -> bool {
        self.file[4] & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.identification() != IIR_NONE
    }
}
