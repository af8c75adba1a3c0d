//! As much of a 16550 as the guest uses: a transmitter that is always empty, its interrupt, the scratch register. Characters are gathered
//! and passed on by lines, as Atoll's serial port does it.

use std::error::Error;

use crate::console::Console;

/// The data register.
pub(crate) const FIRST_PORT: u16 = 0x3f8;
/// The scratch register.
pub(crate) const LAST_PORT: u16 = 0x3ff;
const INTERRUPT_ENABLE: u16 = 0x3f9;
const MODEM_CONTROL: u16 = 0x3fc;
const LINE_STATUS: u16 = 0x3fd;
/// IER: the transmitter is empty.
const TRANSMITTER: u8 = 0x02;
/// MCR: OUT2, which connects the interrupt.
const CONNECTED: u8 = 0x08;
/// LSR: the transmitter is empty, the holding register as well.
const EMPTY: u8 = 0x60;
/// Characters that are passed on even without a newline: as many as Atoll's serial port keeps.
const KEPT: usize = 47;

/// A serial port.
#[derive(Debug)]
pub(crate) struct Uart {
    console: Console,
    gathered: Vec<u8>,
    interrupt_enable: u8,
    modem_control: u8,
    scratch: u8,
    held: bool,
}

impl Uart {
    /// The interrupt that it raises.
    pub(crate) const LINE: u32 = 4;

    /// One with this console at its other end.
    pub(crate) fn new(console: Console) -> Self {
        Self {
            console,
            gathered: Vec::with_capacity(KEPT),
            interrupt_enable: 0,
            modem_control: 0,
            scratch: 0,
            held: false,
        }
    }

    /// The guest writes a byte.
    pub(crate) fn write(&mut self, port: u16, value: u8) -> Result<(), Box<dyn Error>> {
        match port {
            FIRST_PORT => {
                self.gathered.push(value);
                if value == b'\n' || self.gathered.len() == KEPT {
                    self.console.pass_on(&self.gathered)?;
                    self.gathered.clear();
                }
            }
            INTERRUPT_ENABLE => self.interrupt_enable = value,
            MODEM_CONTROL => self.modem_control = value,
            LAST_PORT => self.scratch = value,
            _ => {}
        }
        Ok(())
    }

    /// The guest reads a byte.
    pub(crate) fn read(&self, port: u16) -> u8 {
        match port {
            LINE_STATUS => EMPTY,
            INTERRUPT_ENABLE => self.interrupt_enable,
            MODEM_CONTROL => self.modem_control,
            LAST_PORT => self.scratch,
            _ => 0,
        }
    }

    /// The interrupt line's level, if it has changed.
    pub(crate) fn line_change(&mut self) -> Option<bool> {
        let held = self.interrupt_enable & TRANSMITTER != 0 && self.modem_control & CONNECTED != 0;
        (held != std::mem::replace(&mut self.held, held)).then_some(held)
    }

    /// The guest is gone: what is left is passed on and printed.
    pub(crate) fn close(mut self) -> Result<(), Box<dyn Error>> {
        self.console.pass_on(&self.gathered)?;
        self.console.close()
    }
}
