//! The port's state, laid out by what changes together: a line of the vault each for registers, output and input.

use atoll_protocol::role::console_mail::{INPUT_WINDOW, OUTPUT, OUTPUT_BYTES, OUTPUT_WINDOW};
use atoll_sdk::Clock;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::registers::*;

/// Characters of a 16550A's receive FIFO.
pub(crate) const FIFO: u8 = 16;
/// Characters that can be kept: a whole grant to the console on top of a FIFO that loopback has filled.
pub(crate) const QUEUE: usize = FIFO as usize + INPUT_WINDOW as usize;

/// Characters on the way to the console from which on the transmitter is not ready. Far below what the console holds, because a guest that
/// has waited too long writes on nevertheless.
pub(crate) const NOT_READY: u16 = OUTPUT_WINDOW / 2;

/// Everything.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UartState {
    pub(crate) set: Settings,
    pub(crate) out: Output,
    pub(crate) input: Input,
}

/// What the guest sets up and then leaves alone.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Settings {
    /// Interrupt enable.
    pub(crate) ier: u8,
    /// FIFO control: the bits that stay.
    pub(crate) fcr: u8,
    /// Line control.
    pub(crate) lcr: u8,
    /// Modem control.
    pub(crate) mcr: u8,
    /// Modem status: deltas since it was last read.
    pub(crate) deltas: u8,
    /// Scratch.
    pub(crate) scr: u8,
    /// Divisor latch.
    pub(crate) divisor: [u8; 2],
    /// The interrupt line.
    pub(crate) line: u8,
    /// The console's server number.
    pub(crate) console: u8,
    /// Not used; zero.
    pub(crate) reserved: [u8; 6],
    /// To know how long a character takes.
    pub(crate) clock: Clock,
    /// From the first byte of output until it is sent.
    pub(crate) linger: u64,
    /// When the flush timer was last to expire.
    pub(crate) flush_at: u64,
    /// When the guest has listened for long enough.
    pub(crate) open_at: u64,
    /// Not used; zero.
    pub(crate) rest: [u64; 2],
}

/// What a transmitted character changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Output {
    /// Characters in `mail`.
    pub(crate) used: u8,
    /// 1 while the flush timer is armed.
    pub(crate) armed: u8,
    /// 1 while the transmitter's interrupt is pending.
    pub(crate) pending: u8,
    /// 1 while the interrupt line is high.
    pub(crate) raised: u8,
    /// Characters sent that the console has not acknowledged.
    pub(crate) in_flight: u16,
    /// Not used; zero.
    pub(crate) reserved: u16,
    /// When mail was last sent: one string instruction is one activation, and must not send a mail per line.
    pub(crate) mailed: u64,
    /// [`OUTPUT`], then the characters not yet sent: a mail that needs no copy.
    pub(crate) mail: [u8; 1 + OUTPUT_BYTES],
}

/// What a received character changes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Input {
    /// Characters in `bytes`; those beyond the FIFO's depth are on their way into it.
    pub(crate) used: u8,
    /// Characters that the console may still send.
    pub(crate) granted: u8,
    /// Line status: error bits since it was last read.
    pub(crate) errors: u8,
    /// 1 while the character time-out is pending.
    pub(crate) timeout: u8,
    /// 1 while the time-out's timer is armed.
    pub(crate) armed: u8,
    /// 1 while the timer is armed after which the console is told that the guest listens.
    pub(crate) opening: u8,
    /// Where the oldest character is in `bytes`.
    pub(crate) first: u8,
    /// Not used; zero.
    pub(crate) reserved: u8,
    /// When a character last came or was read.
    pub(crate) touched: u64,
    /// Received characters, a ring.
    pub(crate) bytes: [u8; QUEUE],
    /// Not used; zero.
    pub(crate) rest: [u8; 16],
}

impl Settings {
    /// Characters of the receive FIFO in the present mode.
    #[inline(always)]
    pub(crate) fn depth(&self) -> u8 {
        if self.fcr & FCR_ENABLE != 0 { FIFO } else { 1 }
    }

    /// Characters that raise the received-data interrupt.
    pub(crate) fn trigger(&self) -> u8 {
        match (self.fcr & FCR_ENABLE, self.fcr >> 6) {
            (0, _) | (_, 0) => 1,
            (_, 1) => 4,
            (_, 2) => 8,
            _ => 14,
        }
    }

    /// Levels of the modem's lines, as modem status shows them: a terminal that is always there, or our own outputs in loopback.
    pub(crate) fn modem(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return MSR_CONNECTED;
        }
        let wire = |from: u8, to: u8| if self.mcr & from != 0 { to } else { 0 };
        wire(MCR_RTS, 1 << 4)
            | wire(MCR_DTR, 1 << 5)
            | wire(MCR_OUT1, MSR_RING)
            | wire(MCR_OUT2, 1 << 7)
    }

    /// Whether the guest listens: it is ready to receive, or wants the interrupt. Probing in loopback does not count.
    pub(crate) fn listens(&self) -> bool {
        self.mcr & MCR_LOOP == 0 && (self.mcr & MCR_RTS != 0 || self.ier & IER_RECEIVED != 0)
    }

    /// How long four characters of ten bits take: the character time-out.
    pub(crate) fn four_characters(&self) -> u64 {
        let divisor = u64::from(u16::from_le_bytes(self.divisor)).max(1);
        // 40 bits of `divisor / 115200` seconds.
        self.clock.tsc_khz.saturating_mul(1000 * divisor) / 2880
    }
}

impl Output {
    /// Nothing written yet. No time is `mailed`, so that the first mail can go at any.
    pub(crate) const EMPTY: Output = {
        let mut mail = [0; 1 + OUTPUT_BYTES];
        mail[0] = OUTPUT;
        Output {
            used: 0,
            armed: 0,
            pending: 0,
            raised: 0,
            in_flight: 0,
            reserved: 0,
            mailed: u64::MAX,
            mail,
        }
    };

    /// Whether the guest may write the next character: as many as the FIFO holds will fit.
    #[inline(always)]
    pub(crate) fn ready(&self) -> bool {
        self.in_flight < NOT_READY && usize::from(self.used) < OUTPUT_BYTES
    }
}

impl Input {
    /// Adds a character behind the others; false if there is no place at all.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        if usize::from(self.used) >= QUEUE {
            return false;
        }
        let place = usize::from(self.first).wrapping_add(usize::from(self.used)) % QUEUE;
        self.bytes[place] = byte;
        self.used += 1;
        true
    }

    /// Takes the oldest character.
    pub(crate) fn pop(&mut self) -> Option<u8> {
        self.used = self.used.checked_sub(1)?;
        let place = usize::from(self.first) % QUEUE;
        self.first = ((place + 1) % QUEUE) as u8;
        Some(self.bytes[place])
    }

    /// Characters that the console could be granted now.
    pub(crate) fn room(&self) -> u8 {
        INPUT_WINDOW
            .saturating_sub(self.used)
            .saturating_sub(self.granted)
    }
}

impl UartState {
    /// Characters that the guest can see.
    #[inline(always)]
    pub(crate) fn visible(&self) -> u8 {
        self.input.used.min(self.set.depth())
    }

    /// The line status register.
    #[inline(always)]
    pub(crate) fn line_status(&self) -> u8 {
        let data = if self.input.used != 0 { LSR_DATA } else { 0 };
        let empty = if self.out.ready() { LSR_EMPTY } else { 0 };
        data | empty | self.input.errors
    }

    /// Which interrupt is pending, by priority (data sheet, table IV).
    pub(crate) fn interrupt(&self) -> u8 {
        let enabled = self.set.ier;
        let visible = self.visible();
        if enabled & IER_LINE != 0 && self.input.errors != 0 {
            IIR_LINE
        } else if enabled & IER_RECEIVED != 0 && visible >= self.set.trigger() {
            IIR_RECEIVED
        } else if enabled & IER_RECEIVED != 0 && self.input.timeout != 0 && visible != 0 {
            IIR_TIMEOUT
        } else if enabled & IER_TRANSMIT != 0 && self.out.pending != 0 {
            IIR_TRANSMIT
        } else if enabled & IER_MODEM != 0 && self.set.deltas != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    /// Level of the interrupt line: OUT2 connects it, and loopback takes OUT2 off its pin.
    pub(crate) fn level(&self) -> u8 {
        let connected = self.set.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2;
        u8::from(connected && self.interrupt() != IIR_NONE)
    }
}
