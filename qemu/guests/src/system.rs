//! Control, debug and model-specific registers, read and written as [runs](crate::run): what the CPU refuses is a result.

use crate::code;
use crate::run::register::{RAX, RCX, RDX};
use crate::run::{Code, Run};

/// #GP(0).
pub const PROTECTION: (u8, u64) = (13, 0);
/// #UD.
pub const UNDEFINED: (u8, u64) = (6, 0);
/// INT3: the run came to its end.
pub const DONE: (u8, u64) = (3, 0);

/// EFER's number.
pub const EFER: u64 = 0xc000_0080;

/// A control or debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what the manuals call them")]
pub enum Register {
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Cr8,
    Dr0,
    Dr1,
    Dr2,
    Dr3,
    Dr4,
    Dr5,
    Dr6,
    Dr7,
}

macro_rules! moves {
    ($register:expr, $direction:ident, $($name:ident => $text:literal),+) => {
        match $register {
            $(Register::$name => moves!(@$direction $text),)+
        }
    };
    (@load $text:literal) => { code!(concat!("mov rax, ", $text)) };
    (@store $text:literal) => { code!(concat!("mov ", $text, ", rax")) };
}

macro_rules! every {
    ($register:expr, $direction:ident) => {
        moves!(
            $register, $direction,
            Cr0 => "cr0", Cr2 => "cr2", Cr3 => "cr3", Cr4 => "cr4", Cr8 => "cr8", Dr0 => "dr0", Dr1 => "dr1", Dr2 => "dr2",
            Dr3 => "dr3", Dr4 => "dr4", Dr5 => "dr5", Dr6 => "dr6", Dr7 => "dr7"
        )
    };
}

impl Register {
    /// The four registers of addresses.
    pub const ADDRESSES: [Self; 4] = [Self::Dr0, Self::Dr1, Self::Dr2, Self::Dr3];

    /// MOV from it to RAX.
    #[must_use]
    pub fn loads(self) -> Code {
        every!(self, load)
    }

    /// MOV from RAX to it.
    #[must_use]
    pub fn stores(self) -> Code {
        every!(self, store)
    }

    /// What is in it.
    #[must_use]
    pub fn get(self) -> u64 {
        Run::new(self.loads()).go().general[RAX]
    }

    /// Writes it: the exception that this ended with, which is [`DONE`] if it did not fault.
    pub fn set(self, value: u64) -> (u8, u64) {
        Run::new(self.stores()).with(RAX, value).go().fault()
    }
}

/// Writes a model-specific register.
pub fn write_msr(index: u64, value: u64) -> (u8, u64) {
    Run::new(code!("wrmsr"))
        .with(RCX, index)
        .with(RAX, value & 0xffff_ffff)
        .with(RDX, value >> 32)
        .go()
        .fault()
}

/// Reads one.
#[must_use]
pub fn read_msr(index: u64) -> u64 {
    let general = Run::new(code!("rdmsr")).with(RCX, index).go().general;
    general[RDX] << 32 | general[RAX] & 0xffff_ffff
}
