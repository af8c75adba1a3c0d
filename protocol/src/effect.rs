//! What a server may answer: effects, back to back, until the answer's end.
//!
//! All of an answer's effects are checked in order before the first is committed; one that fails the check discards the whole
//! answer and faults the server.

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::fixed::Fixed;
use crate::grant::{Grant, Limits, Route};
use crate::message::{Leaf, Stop};
use crate::role::RoleKind;
use crate::units::{Gpa, LineId, ServerId, TicketId, Ticks, TimerId};
use crate::vcpu::{Exception, SystemRegister};

/// One effect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Effect<'a> {
    /// Commit vault lines `first .. first + count`.
    Save(u16, u16),

    // Tickets: exactly one of these for the message's own ticket.
    /// Complete with a CPUID leaf.
    Leaf(Fixed<Leaf>),
    /// Complete a read, or a hypercall, with a value.
    Value(Fixed<u64>),
    /// Complete a write.
    Done,
    /// Complete a string read with its bytes.
    Data(&'a [u8]),
    /// Complete by an exception in the guest.
    Exception(Fixed<Exception>),
    /// Complete: run the instruction again (a mapping was made), or go on where `Rip` was set.
    Resume,
    /// Pass the ticket on as a device access.
    Forward(Fixed<Forward>, &'a [u8]),
    /// Ask for the same exit with registers; commits nothing, once per delivery.
    NeedRegisters,
    /// Keep the ticket open, to be completed by a later answer; falls back at the deadline.
    Defer(Fixed<Ticks>),
    /// Complete a request by mail: the ticket, and the answer's bytes.
    Reply(TicketId, &'a [u8]),

    // The virtual CPU.
    /// Set a general register (encoding order).
    Register(u8, Fixed<u64>),
    /// Set a system register.
    System(SystemRegister, Fixed<u64>),
    /// The whole state of a vCPU that has not run yet: an [`InitialState`](crate::vcpu::InitialState), as bytes since it is so much larger than every other effect.
    Initial(u8, &'a [u8]),
    /// The highest pending interrupt of a vCPU, replacing the offer before; see [`Offer`].
    Offer(Fixed<Offer>),

    // Guest memory.
    /// Write bytes.
    GuestWrite(Fixed<Gpa>, &'a [u8]),
    /// Compare and swap; a mismatch delivers the message again.
    GuestCas(Fixed<GuestCas>),
    /// Copy from the bundle.
    GuestCopy(Fixed<GuestCopy>),
    /// Map guest memory for the guest.
    Map(Fixed<Mapping>),
    /// Take mappings away.
    Unmap(Fixed<Mapping>),

    // Devices.
    /// Drive an interrupt line of the machine.
    Line(LineId, Signal),
    /// Arm a timer at an absolute time; replaces what was armed.
    Arm(TimerId, Fixed<Ticks>),
    /// Disarm a timer.
    Disarm(TimerId),
    /// Write a host port: port, size in bytes, value.
    PortOut(u16, u8, u32),
    /// Read a host port; the value comes as `PortValue`.
    PortIn(u16, u8),
    /// While `status & mask == mask`, write the next byte to `data`; the count comes as `Filled`.
    Fill(Fifo, &'a [u8]),
    /// While `status & mask == mask` and fewer than `max` were read, read a byte from `data`; they come as `Drained`.
    Drain(Fifo, u16),

    // Other servers and the outside.
    /// Send mail.
    Mail(ServerId, &'a [u8]),
    /// Send a request; the answer comes as `Answered` with the token.
    Request(ServerId, u32, &'a [u8]),
    /// Write a line to the kernel's log (throttled per server).
    Log(&'a str),
    /// Ask the kernel for a record of its statistics or state; it comes as `Record`.
    Query(Query),
    /// Stop the virtual machine.
    Stop(Stop),
    /// The supervisor's own effects.
    Supervise(Supervise<'a>),
    /// To `Export`: the role's state, see [`crate::interchange`].
    Exported(&'a [u8]),
}

/// What only the supervisor may do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Supervise<'a> {
    /// Make a server in an empty slot, with an empty address space and no rights: its name, and that of the image that it is to be filled
    /// from.
    Create(ServerId, RoleKind, Limits, &'a str, &'a str),
    /// Give it a right.
    Grant(ServerId, Grant),
    /// Send it a class of exits.
    Route(ServerId, Route),
    /// Fill part of its address space from the bundle.
    Segment(ServerId, Fixed<Segment>),
    /// Set its entry point and deliver `Start` with this configuration.
    Start(ServerId, Fixed<u64>, &'a [u8]),
    /// Take away its address space, rights and mail.
    Destroy(ServerId),
    /// Set up guest memory (bytes) and vCPUs; from this offset on the bundle may be written.
    CreateMachine(Fixed<u64>, u8, Fixed<u64>),
    /// Deliver `Load` to the loader.
    Load(ServerId),
    /// Let the vCPUs run.
    Run,
    /// Leave: end the host with this code on its exit port.
    Exit(u8),
    /// Put a faulted server back to its image and its committed vault. It is told that it was restarted, then gets what it had not handled.
    Restart(ServerId),
    /// Complete what waits for a server, and all that will, as its role declares ([`crate::role::Role::fallback`]).
    Quarantine(ServerId),
    /// Fault a server as if it had broken a rule, between two messages.
    Kill(ServerId),
    /// Prepare a server in the first slot to succeed the one in the second: set its entry point; ask the other for its state and keep all
    /// messages for the successor; then deliver `Import` with the state, this configuration, and whether it may take something away from
    /// the guest. One at a time; to destroy the successor is to call it off.
    Succeed(ServerId, ServerId, Fixed<u64>, Terms, &'a [u8]),
    /// Put what is in the first slot into the second one's place, and the other way round: image, memory and limits. Rights, mail and
    /// everything that waits stay with the slots. Only for the generation that has started, as `ServerStarted` names it.
    Exchange(ServerId, ServerId, u32),
    /// Write into the bundle, where that may be: an image that came while the machine runs.
    Write(Fixed<u64>, &'a [u8]),
}

/// How a successor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Terms {
    /// With the state of the one before; it refuses if that would take something away from the guest.
    Gentle,
    /// With that state in any case.
    Force,
    /// As at its first start: the one before is not asked, and the state that `Import` brings is empty.
    Reset,
}

/// A segment of a server's image.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Segment {
    /// Where it goes in the server; page-aligned.
    pub address: u64,
    /// Offset of its bytes in the bundle.
    pub offset: u64,
    /// Bytes in the bundle.
    pub file: u64,
    /// Bytes in memory; the rest is zero.
    pub memory: u64,
    /// 1 read-only, 2 read-write, 4 read-execute: exactly one.
    pub access: u64,
}

impl Segment {
    /// Read-only.
    pub const READ: u64 = 1;
    /// Read-write.
    pub const WRITE: u64 = 2;
    /// Read-execute.
    pub const EXECUTE: u64 = 4;
}

/// An access that an emulator decoded, for whichever device owns the address, and how the kernel finishes the instruction.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Forward {
    /// Guest-physical address, or port number.
    pub address: u64,
    /// Value to write if `source` is [`Forward::IMMEDIATE`]; the page of RAM for [`Forward::STAND_IN`].
    pub value: u64,
    /// RIP after the instruction (LOAD, STORE), or the emulator's token (RETURN).
    pub rip_or_token: u64,
    /// Accesses (string forms), else 1.
    pub count: u32,
    /// Not used; zero.
    pub reserved: u32,
    /// What is accessed: [`Forward::MMIO`], [`Forward::PORT`] or [`Forward::STAND_IN`].
    pub space: u8,
    /// 1 for a write.
    pub write: u8,
    /// Bytes per access: 1, 2, 4 or 8.
    pub size: u8,
    /// Register to write from: 0 to 15, 16 to 19 for AH, CH, DH, BH, or [`Forward::IMMEDIATE`].
    pub source: u8,
    /// How the kernel finishes: [`Forward::LOAD`], [`Forward::STORE`] or [`Forward::RETURN`].
    pub finish: u8,
    /// LOAD: register to load, numbered like `source`.
    pub register: u8,
    /// LOAD: bytes of the register that are written: 1, 2, 4 (clears the upper half) or 8.
    pub width: u8,
    /// LOAD: 1 to sign-extend from `size` to `width`.
    pub sign: u8,
}

impl Forward {
    /// Device memory.
    pub const MMIO: u8 = 0;
    /// A port.
    pub const PORT: u8 = 1;
    /// No device: the guest executes its next instruction, with the page of RAM at `value` in place of the page at `address`. Comes back as
    /// `AccessDone` with 1, or 0 if the instruction raised an exception. An instruction that touches two such pages is forwarded twice.
    pub const STAND_IN: u8 = 2;
    /// The value to write is in `value`.
    pub const IMMEDIATE: u8 = 0xff;
    /// Put the value into a register and advance RIP.
    pub const LOAD: u8 = 0;
    /// Advance RIP.
    pub const STORE: u8 = 1;
    /// Give the value back as `AccessDone`; the instruction is not finished.
    pub const RETURN: u8 = 2;

    /// Whether the access exists and its parts agree; `bytes` is how many come with it for a string write.
    #[must_use]
    pub fn makes_sense(&self, bytes: usize) -> bool {
        if self.space == Forward::STAND_IN {
            let pages = (self.address | self.value).is_multiple_of(crate::PAGE as u64);
            return pages && self.finish == Forward::RETURN && self.write == 0 && bytes == 0;
        }
        let register = |number: u8| number < 20;
        let mmio = self.space == Forward::MMIO;
        let place = mmio || (self.space == Forward::PORT && self.address <= 0xffff);
        let size = matches!(self.size, 1 | 2 | 4) || (self.size == 8 && mmio);
        let amount = (self.count == 1 && bytes == 0) || self.is_string(bytes);
        let finish = match (self.write, self.finish) {
            (0, Forward::LOAD) => {
                register(self.register) && matches!(self.width, 1 | 2 | 4 | 8) && self.sign <= 1
            }
            (1, Forward::STORE) | (0 | 1, Forward::RETURN) => true,
            _ => false,
        };
        let source = self.write == 0
            || self.source == Forward::IMMEDIATE
            || register(self.source)
            || bytes > 0;
        place && size && amount && finish && source
    }

    fn is_string(&self, bytes: usize) -> bool {
        let length = self.count as usize * usize::from(self.size);
        let fits = length > 0
            && length <= crate::STRING_BYTES
            && (bytes == length || (self.write == 0 && bytes == 0));
        fits && self.space == Forward::PORT && self.finish == Forward::RETURN
    }

    /// The `size` low bytes of a value that was read.
    #[inline(always)]
    #[must_use]
    pub const fn cut(&self, value: u64) -> u64 {
        if self.size >= 8 {
            value
        } else {
            value & ((1 << (self.size as u32 * 8)) - 1)
        }
    }

    /// What LOAD makes of a value that was read: cut to `size` bytes, and sign-extended if that is asked for.
    #[inline(always)]
    #[must_use]
    pub const fn extend(&self, value: u64) -> u64 {
        if self.sign == 0 || self.size == 0 {
            return self.cut(value);
        }
        let shift = 64_u32.saturating_sub(self.size as u32 * 8);
        ((value << shift) as i64 >> shift) as u64
    }
}

/// An interrupt offered to a vCPU.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Offer {
    /// The virtual CPU.
    pub vcpu: u8,
    /// Vector for [`Offer::FIXED`] and [`Offer::EXTERNAL`].
    pub vector: u8,
    /// [`Offer::NONE`], [`Offer::FIXED`] or [`Offer::EXTERNAL`].
    pub kind: u8,
    /// 1: an NMI is pending as well (latched by the kernel, never withdrawn).
    pub nmi: u8,
}

impl Offer {
    /// Nothing pending.
    pub const NONE: u8 = 0;
    /// A local APIC vector: subject to the task priority; acceptance rides on the next message.
    pub const FIXED: u8 = 1;
    /// From the 8259s: not subject to the task priority; acceptance is told at once.
    pub const EXTERNAL: u8 = 2;

    /// Whether there is such a kind of interrupt and such a CPU.
    #[inline(always)]
    #[must_use]
    pub const fn makes_sense(&self) -> bool {
        self.vcpu == 0 && self.kind <= Offer::EXTERNAL && self.nmi <= 1
    }
}

/// A compare-and-swap in guest memory.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct GuestCas {
    /// Address, aligned to `size`.
    pub gpa: Gpa,
    /// What must be there.
    pub old: u64,
    /// What is put there.
    pub new: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u64,
}

/// A copy from the bundle to guest memory.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct GuestCopy {
    /// Destination.
    pub gpa: Gpa,
    /// Offset in the bundle.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Guest memory in the nested page tables.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Mapping {
    /// First address; aligned to `size`.
    pub gpa: Gpa,
    /// Page size: 4 KiB or 2 MiB.
    pub size: u64,
    /// Bit 0 write, bit 1 execute; reading is always allowed.
    pub access: u64,
}

impl Mapping {
    /// The guest may write.
    pub const WRITE: u64 = 1;
    /// The guest may execute.
    pub const EXECUTE: u64 = 2;
    /// 4 KiB.
    pub const SMALL: u64 = 0x1000;
    /// 2 MiB.
    pub const LARGE: u64 = 0x20_0000;
}

/// What a device does to an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Signal {
    /// Drive it low.
    Lower,
    /// Drive it high.
    Raise,
    /// High and low again: one edge.
    Pulse,
}

/// A byte device on the host, seen through a status and a data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Fifo {
    /// Status port.
    pub status: u16,
    /// Bits that must all be set.
    pub mask: u8,
    /// Data port.
    pub data: u16,
    /// Most bytes to write after one look at the status (the depth of the device's FIFO), for `Fill`.
    pub burst: u8,
}

/// What the control server may ask the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Query {
    /// A [`control::ExitRecord`](crate::control::ExitRecord) of the exit kind with this index.
    Exit(u8),
    /// A [`control::ServerRecord`](crate::control::ServerRecord) of the first server from this number on: slots may be empty.
    Server(ServerId),
    /// The [`control::MachineRecord`](crate::control::MachineRecord).
    Machine,
    /// The part with this index of the [`control::DumpPart`](crate::control::DumpPart)s of this server.
    Dump(ServerId, u8),
}
