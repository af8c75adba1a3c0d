//! Everything that can be said between Atoll's kernel, its servers and its host tool.
//!
//! Read it in this order:
//!
//! 1. [`units`]: the newtypes that every other module speaks in; [`name`]: names of servers and images; [`printable`]: text as it may be shown.
//! 2. [`message`]: what the kernel says to a server (one [`message::Message`] per activation).
//! 3. [`effect`]: what a server may answer (a list of [`effect::Effect`]s, all committed or none).
//! 4. [`role`]: what each role may be asked and may answer; the typed surface that servers are written against.
//!    [`interchange`]: the form in which a role's state moves from one server to another.
//! 5. [`grant`]: the rights that the kernel checks each effect against; [`frames`]: what everything costs in memory.
//! 6. [`manifest`]: the machine, as the host tool packs it into the bundle.
//! 7. [`fault`]: why a server's activation was refused; [`storm`]: how often that may be.
//! 8. [`control`]: what the host tool may ask of a running machine, such as the [`dump`] of a fault; [`order`]: what it may have changed there.
//!
//! # Encoding
//!
//! A message is a postcard envelope (one-byte tags, varint lengths) around fixed-layout blocks ([`fixed::Fixed`]), read with
//! `zerocopy`. Postcard's varints loop once per seven bits, which is what an enum of `u64` fields would spend its time on; a block
//! is one length byte and plain loads.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod cause;
pub mod control;
pub mod dump;
pub mod effect;
pub mod fault;
pub mod fixed;
pub mod frames;
pub mod grant;
pub mod ids;
pub mod inject;
pub mod interchange;
pub mod layout;
pub mod manifest;
pub mod message;
pub mod name;
pub mod order;
pub mod printable;
pub mod role;
pub mod schema;
pub mod storm;
pub mod units;
pub mod vcpu;
pub mod wire;

/// Version of the protocol: raised with every change of meaning or of layout, together with a line in `CHANGELOG.md`.
pub const VERSION: u32 = 18;
pub use schema::SCHEMA_HASH;

/// Bytes of a message page, and of an answer page.
pub const PAGE: usize = 4096;
/// Most effects one answer may carry.
pub const EFFECTS: usize = 48;
/// Most bytes that the effects of one answer may copy from the bundle: the kernel copies with interrupts off.
pub const COPY_BYTES: u64 = 1 << 20;
/// Most accesses to host ports that the effects of one answer may take.
pub const PORT_ACCESSES: u64 = 4096;
/// Most bytes of one mail.
pub const MAIL_BYTES: usize = 256;
/// Most bytes of a state on its way from one server to another.
pub const INTERCHANGE_BYTES: usize = 2560;
/// Most bytes of one chunk of a string I/O instruction.
pub const STRING_BYTES: usize = 2048;
/// Set in the length that a server answers with: it panicked, and the answer page holds that many bytes of text.
pub const PANICKED: u64 = 1 << 32;
/// Bytes of one vault line: the unit in which an answer names what it dirtied.
pub const LINE: usize = 64;
/// Pages that may stand in for others while the guest executes one instruction: an instruction rarely touches two devices.
pub const STAND_INS: usize = 2;
/// Most servers of one machine, the supervisor (always number 0) included.
pub const SERVERS: usize = ids::ServerId::COUNT;
/// Most timers of one server.
pub const TIMERS: usize = ids::TimerId::COUNT;
/// How long the supervisor may take for a message, in microseconds: no manifest says so, since it is the one to read it.
pub const SUPERVISOR_BUDGET_US: u32 = 200_000;
/// Interrupt lines of a virtual machine (IOAPIC pins; the first 16 are the 8259s' as well).
pub const LINES: usize = ids::LineId::COUNT;
