//! What a plan types (feature `fault-injection`): bytes that the host's console port (COM1) is found to hold, one after the other at the
//! pace of a serial line in virtual time, once the port has been told to print what the plan waits for. What comes from QEMU's console
//! comes by the host's clock, and no two runs would be equal.

use atoll_protocol::inject::{Plan, TEXT};
use atoll_protocol::units::HostIrq;
use spin::Mutex;

use crate::host::{port, tsc};

/// COM1's data and line status registers (PC16550D data sheet, §8.0).
const DATA: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = 0x3f9;
const LINE_STATUS: u16 = 0x3fd;
/// Line status: a byte is there.
const DATA_READY: u32 = 1;
/// COM1's interrupt.
const IRQ: HostIrq = HostIrq::nth(4);

struct Keyboard {
    /// The dialogue.
    text: [u8; TEXT],
    length: usize,
    /// Where what is waited for begins, and how much of it was printed last.
    awaited: usize,
    printed: usize,
    /// The next byte to type; none while something is waited for.
    next: Option<usize>,
    /// When it is there, in ticks.
    at: u64,
    /// Whether its interrupt was raised.
    told: bool,
}

static KEYBOARD: Mutex<Keyboard> = Mutex::new(Keyboard {
    text: [0; TEXT],
    length: 0,
    awaited: 0,
    printed: 0,
    next: None,
    at: 0,
    told: false,
});

impl Keyboard {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied().filter(|_| at < self.length)
    }

    /// The byte that is there.
    fn key(&self) -> Option<u8> {
        self.byte(self.next?).filter(|_| tsc::now().0 >= self.at)
    }

    /// Waits for the string that begins here, or not at all if it is empty.
    fn wait(&mut self, from: usize) {
        (self.awaited, self.printed, self.next) = (from, 0, None);
        if self.byte(from) == Some(0) {
            self.begin(from + 1);
        }
    }

    /// Types the string that begins here; the next is waited for after that.
    fn begin(&mut self, from: usize) {
        (self.next, self.told, self.at) = (Some(from), false, tsc::now().0 + pace());
        if self.byte(from) == Some(0) {
            self.wait(from + 1);
        }
    }

    /// A byte goes to the console.
    fn prints(&mut self, byte: u8) {
        if self.next.is_some() || self.awaited >= self.length {
            return;
        }
        if self.byte(self.awaited + self.printed) != Some(byte) {
            self.printed = 0;
        }
        if self.byte(self.awaited + self.printed) == Some(byte) {
            self.printed += 1;
        }
        if self.byte(self.awaited + self.printed) == Some(0) {
            self.begin(self.awaited + self.printed + 1);
        }
    }
}

/// Begins a plan's dialogue.
pub(super) fn begin(plan: &Plan) {
    let mut keyboard = KEYBOARD.lock();
    (keyboard.text, keyboard.length) = (plan.text, (plan.dialogue as usize).min(TEXT));
    keyboard.wait(0);
}

fn pace() -> u64 {
    Plan::PACE * tsc::khz() / 1_000_000
}

/// The interrupt of a byte that has just come.
pub(super) fn arrived() -> Option<HostIrq> {
    let mut keyboard = KEYBOARD.lock();
    let news = keyboard.key().is_some() && !keyboard.told;
    keyboard.told |= news;
    news.then_some(IRQ)
}

/// A port was written. Enabling the interrupt anew makes a new edge of a byte that is there.
pub(super) fn written(number: u16, value: u32) {
    match number {
        DATA => KEYBOARD.lock().prints(value as u8),
        INTERRUPT_ENABLE if value & 1 != 0 => KEYBOARD.lock().told = false,
        _ => {}
    }
}

/// What a port holds, if that is for the plan to say.
pub(super) fn read(number: u16) -> Option<u32> {
    let mut keyboard = KEYBOARD.lock();
    let key = keyboard.key()?;
    match number {
        LINE_STATUS => Some(u32::from(port::read::<u8>(LINE_STATUS)) | DATA_READY),
        DATA => {
            let after = keyboard.next.map_or(0, |next| next + 1);
            keyboard.begin(after);
            Some(u32::from(key))
        }
        _ => None,
    }
}
