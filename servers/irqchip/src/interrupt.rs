//! An interrupt on its way to local APICs, from the I/O APIC or from another local APIC.

/// Delivery mode, with the encoding that redirection entries, LVTs and the ICR share (Intel SDM vol. 3 §11.5.1, §11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A vector to all that are addressed.
    Fixed,
    /// A vector to one of them.
    Lowest,
    /// Non-maskable.
    Nmi,
    /// The vector comes from the 8259s.
    External,
    /// SMI, INIT, start-up: nothing that this machine does.
    Other,
}

impl Mode {
    /// The mode in the low three bits.
    #[must_use]
    pub fn of(bits: u32) -> Mode {
        match bits & 7 {
            0 => Mode::Fixed,
            1 => Mode::Lowest,
            4 => Mode::Nmi,
            7 => Mode::External,
            _ => Mode::Other,
        }
    }
}

/// An interrupt and whom it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Its vector.
    pub vector: u8,
    /// How it is delivered.
    pub mode: Mode,
    /// Level-triggered: its end goes back to the I/O APIC.
    pub level: bool,
    /// The destination is logical.
    pub logical: bool,
    /// The destination.
    pub destination: u32,
    /// The destination is everybody.
    pub broadcast: bool,
}
