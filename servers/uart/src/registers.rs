//! Bits of the 16550A's registers (National Semiconductor PC16550D data sheet, table II).

/// Interrupt enable: received data and character time-out.
pub const IER_RECEIVED: u8 = 1 << 0;
/// Interrupt enable: transmitter holding register empty.
pub const IER_TRANSMIT: u8 = 1 << 1;
/// Interrupt enable: receiver line status.
pub const IER_LINE: u8 = 1 << 2;
/// Interrupt enable: modem status.
pub const IER_MODEM: u8 = 1 << 3;
/// All that can be written.
pub const IER_MASK: u8 = 0x0f;

/// Interrupt identification: nothing pending.
pub const IIR_NONE: u8 = 0x01;
/// Modem status; the lowest priority.
pub const IIR_MODEM: u8 = 0x00;
/// Transmitter holding register empty.
pub const IIR_TRANSMIT: u8 = 0x02;
/// Received data at the trigger level.
pub const IIR_RECEIVED: u8 = 0x04;
/// Receiver line status; the highest priority.
pub const IIR_LINE: u8 = 0x06;
/// Characters below the trigger level have waited long enough.
pub const IIR_TIMEOUT: u8 = 0x0c;
/// FIFOs are enabled.
pub const IIR_FIFOS: u8 = 0xc0;

/// FIFO control: FIFOs enabled.
pub const FCR_ENABLE: u8 = 1 << 0;
/// FIFO control: empty the receive FIFO; clears itself.
pub const FCR_CLEAR_RECEIVE: u8 = 1 << 1;
/// FIFO control: DMA mode and trigger level: the bits that stay.
pub const FCR_KEPT: u8 = 0xc9;

/// Line control: offsets 0 and 1 are the divisor latch.
pub const LCR_DIVISOR: u8 = 1 << 7;

/// Modem control: data terminal ready.
pub const MCR_DTR: u8 = 1 << 0;
/// Modem control: request to send; today, ready to receive.
pub const MCR_RTS: u8 = 1 << 1;
/// Modem control: output 1.
pub const MCR_OUT1: u8 = 1 << 2;
/// Modem control: output 2; on a PC it connects the interrupt to its line.
pub const MCR_OUT2: u8 = 1 << 3;
/// Modem control: loopback.
pub const MCR_LOOP: u8 = 1 << 4;
/// All that can be written.
pub const MCR_MASK: u8 = 0x1f;

/// Line status: data ready.
pub const LSR_DATA: u8 = 1 << 0;
/// Line status: overrun.
pub const LSR_OVERRUN: u8 = 1 << 1;
/// Line status: transmitter holding register and shift register empty.
pub const LSR_EMPTY: u8 = 0x60;

/// Modem status: clear to send, data set ready, carrier detect: what a connected terminal shows.
pub const MSR_CONNECTED: u8 = 0xb0;
/// Modem status: the ring indicator's level.
pub const MSR_RING: u8 = 1 << 6;
