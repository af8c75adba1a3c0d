//! What a plan types (feature `fault-injection`): bytes that the host's console port (COM1) is found to hold, one after the other at the
//! pace of a serial line in virtual time. What comes from QEMU's console comes by the host's clock, and no two runs would be equal.

use atoll_protocol::inject::{Plan, TYPED};
use atoll_protocol::units::HostIrq;
use spin::Mutex;

use crate::x86::{port, tsc};

/// COM1's receive buffer and line status register (PC16550D data sheet, §8.0).
const DATA: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = 0x3f9;
const LINE_STATUS: u16 = 0x3fd;
/// Line status: a byte is there.
const DATA_READY: u32 = 1;
/// COM1's interrupt.
const IRQ: HostIrq = HostIrq(4);

struct Keyboard {
    bytes: [u8; TYPED],
    length: usize,
    next: usize,
    /// When the next byte is there, in ticks.
    at: u64,
    /// Whether its interrupt was raised.
    told: bool,
}

static KEYBOARD: Mutex<Keyboard> = Mutex::new(Keyboard { bytes: [0; TYPED], length: 0, next: 0, at: 0, told: false });

impl Keyboard {
    /// The byte that is there.
    fn key(&self) -> Option<u8> {
        let here = self.next < self.length && tsc::now().0 >= self.at;
        self.bytes.get(self.next).copied().filter(|_| here)
    }
}

/// Begins to type what a plan says.
pub(super) fn begin(plan: &Plan) {
    let length = (plan.typed_length as usize).min(TYPED);
    *KEYBOARD.lock() = Keyboard { bytes: plan.typed, length, next: 0, at: tsc::now().0 + pace(), told: false };
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
    if number == INTERRUPT_ENABLE && value & 1 != 0 {
        KEYBOARD.lock().told = false;
    }
}

/// What a port holds, if that is for the plan to say.
pub(super) fn read(number: u16) -> Option<u32> {
    let mut keyboard = KEYBOARD.lock();
    let key = keyboard.key()?;
    match number {
        LINE_STATUS => Some(u32::from(port::read::<u8>(LINE_STATUS)) | DATA_READY),
        DATA => {
            keyboard.next += 1;
            keyboard.told = false;
            keyboard.at = tsc::now().0 + pace();
            Some(u32::from(key))
        }
        _ => None,
    }
}
