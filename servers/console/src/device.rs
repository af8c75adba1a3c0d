//! The host's 16550 (National Semiconductor PC16550D data sheet): 115,200 baud, 8n1, FIFOs on. The control line's driver uses it, too.

use atoll_protocol::effect::Fifo;
use atoll_protocol::role::{DriverEffect, Role};
use atoll_sdk::Effects;

const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

/// Bytes of the FIFOs.
pub const FIFO: usize = 16;

/// Roles that drive devices: the console's and the control line's.
pub trait Driver: for<'a> Role<Effect<'a> = DriverEffect<'a>> {}
impl<R: for<'a> Role<Effect<'a> = DriverEffect<'a>>> Driver for R {}

/// Receive: while data is ready.
pub fn receive(base: u16) -> Fifo {
    Fifo {
        status: base.wrapping_add(LINE_STATUS),
        mask: 0x01,
        data: base,
        burst: 1,
    }
}

/// Transmit: a FIFO full whenever the holding register is empty.
pub fn transmit(base: u16) -> Fifo {
    Fifo {
        status: base.wrapping_add(LINE_STATUS),
        mask: 0x20,
        data: base,
        burst: FIFO as u8,
    }
}

/// With how many bytes in its FIFO the device interrupts. It does, too, when fewer have waited for the time of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// With every byte: for keys.
    One,
    /// With almost as many as there is room for: for frames, which come as fast as they are taken.
    Fourteen,
}

impl Trigger {
    /// Its bits of the FIFO control register, with the FIFOs on.
    fn bits(self) -> u32 {
        match self {
            Trigger::One => 0x01,
            Trigger::Fourteen => 0xc1,
        }
    }
}

/// Programs the device, with its interrupt off.
pub fn program<R: Driver>(base: u16, trigger: Trigger, effects: &mut Effects<'_, R>) {
    // FIFOs on and empty, interrupts off, divisor latch, divisor 1, 8n1, then DTR, RTS and OUT2 (connects the interrupt).
    let writes = [
        (FIFO_CONTROL, trigger.bits() | 0x06),
        (INTERRUPT_ENABLE, 0x00),
        (LINE_CONTROL, 0x80),
        (0, 0x01),
        (1, 0x00),
        (LINE_CONTROL, 0x03),
        (MODEM_CONTROL, 0x0b),
    ];
    for (register, value) in writes {
        effects.emit(DriverEffect::PortOut(base.wrapping_add(register), 1, value));
    }
}

/// Makes sure that the device is as [`program`] has left it, but for its interrupt and what it holds.
pub fn confirm<R: Driver>(base: u16, trigger: Trigger, effects: &mut Effects<'_, R>) {
    for (register, value) in [
        (LINE_CONTROL, 0x03),
        (MODEM_CONTROL, 0x0b),
        (FIFO_CONTROL, trigger.bits()),
    ] {
        effects.emit(DriverEffect::PortOut(base.wrapping_add(register), 1, value));
    }
}

/// Takes no interrupts: what comes stays in the device, and the device holds its sender up.
pub fn deafen<R: Driver>(base: u16, effects: &mut Effects<'_, R>) {
    effects.emit(DriverEffect::PortOut(
        base.wrapping_add(INTERRUPT_ENABLE),
        1,
        0,
    ));
}

/// Takes interrupts. Off and on again, because the line is edge-triggered: a byte that came while it was masked makes a new edge.
pub fn listen<R: Driver>(base: u16, effects: &mut Effects<'_, R>) {
    deafen(base, effects);
    effects.emit(DriverEffect::PortOut(
        base.wrapping_add(INTERRUPT_ENABLE),
        1,
        1,
    ));
}
