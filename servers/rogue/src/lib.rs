//! A server that misbehaves when its guest says so: what the kernel's containment is tested with.
//!
//! Up to then it is a serial port like any other: [`server`] counts, keeps the count in its vault, and may raise a line, arm timers and
//! mail the console. Then it commits the one [`Misdeed`] that its manifest names:
//!
//! - [`memory`]: touches what is not its own, in a way that is not granted.
//! - [`instruction`]: executes what ring 3 may not.
//! - [`time`]: takes more time, or more stack, than it has.
//! - [`encoding`]: answers with bytes that are no answer.
//! - [`effects`]: answers with an effect that it has no right to, behind others that it has.
//! - [`ticket`]: answers without completing what waits, or completes it twice.
//!
//! This crate is the one server with unsafe code of its own: the SDK would not let it do most of this.
#![no_std]

/// Declares the misdeeds of one kind, and lists them.
macro_rules! misdeeds {
    ($(#[$about:meta])* $kind:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $($(#[$doc])* $name,)* }

        impl $kind {
            /// All of them.
            pub const ALL: &[$kind] = &[$($kind::$name,)*];
        }

        impl From<$kind> for $crate::Misdeed {
            fn from(deed: $kind) -> Self {
                $crate::Misdeed::$kind(deed)
            }
        }
    };
}

mod answer;
pub mod effects;
pub mod encoding;
pub mod instruction;
pub mod memory;
mod ring3;
pub mod server;
pub mod ticket;
pub mod time;

pub use answer::GRANTED;
pub use effects::Effects;
pub use encoding::Encoding;
pub use instruction::Instruction;
pub use memory::Memory;
pub use server::RogueServer;
pub use ticket::Ticket;
pub use time::Time;

/// One way to break one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// Touching memory.
    Memory(Memory),
    /// Executing an instruction.
    Instruction(Instruction),
    /// Taking too much.
    Time(Time),
    /// Answering with what does not decode.
    Encoding(Encoding),
    /// Answering with an effect that is not its own.
    Effects(Effects),
    /// Treating its ticket badly.
    Ticket(Ticket),
}

impl Misdeed {
    /// All of them; the n-th is number n.
    pub fn all() -> impl Iterator<Item = Misdeed> {
        let memory = Memory::ALL.iter().map(|deed| Misdeed::Memory(*deed));
        let instructions = Instruction::ALL
            .iter()
            .map(|deed| Misdeed::Instruction(*deed));
        let time = Time::ALL.iter().map(|deed| Misdeed::Time(*deed));
        let encodings = Encoding::ALL.iter().map(|deed| Misdeed::Encoding(*deed));
        let effects = Effects::ALL.iter().map(|deed| Misdeed::Effects(*deed));
        let tickets = Ticket::ALL.iter().map(|deed| Misdeed::Ticket(*deed));
        memory
            .chain(instructions)
            .chain(time)
            .chain(encodings)
            .chain(effects)
            .chain(tickets)
    }

    /// The value of the option `misdeed` that asks for it. All have three digits, so that machines which differ in nothing else start in
    /// the same number of instructions.
    #[must_use]
    pub fn option(self) -> [u8; 3] {
        let number = Self::all().take_while(|other| *other != self).count();
        [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8)
    }

    /// Commits it. Comes back only if nobody stopped it.
    pub(crate) fn commit(self, state: &server::RogueState) {
        match self {
            Misdeed::Memory(deed) => deed.commit(),
            Misdeed::Instruction(deed) => deed.commit(),
            Misdeed::Time(deed) => deed.commit(),
            Misdeed::Encoding(deed) => deed.commit(state),
            Misdeed::Effects(deed) => deed.commit(state),
            Misdeed::Ticket(deed) => deed.commit(state),
        }
    }
}
