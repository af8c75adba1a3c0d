//! What may happen to a server of each role, at random: for property tests that all servers of a role share.

use std::vec::Vec;

use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{
    Body, CpuidExit, HypercallExit, InstructionExit, Leaf, LineChange, MmioExit, MsrExit,
    NestedFault, PortExit,
};
use atoll_protocol::units::{Gpa, HostIrq, LineId, ServerId, Ticks};
use atoll_protocol::vcpu::{Context, Registers};
use proptest::collection::vec;
use proptest::prelude::*;

mod driver;
mod exits;
mod interrupts;
mod port;

pub use driver::{console, control};
pub use exits::{cpuid, hypercall, mmu, msr};
pub use interrupts::irqchip;
pub use port::{clock, power, serial, timer};

/// Bytes of guest memory, for servers that look at it.
pub(super) const GUEST: usize = 1 << 20;

/// What may happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passes.
    Pass(Ticks),
    /// The vCPU accepts what is on offer; the next message tells.
    Accept,
    /// The guest reads a port: number, size.
    In(u16, u8),
    /// The guest writes a port: number, size, value.
    Out(u16, u8, u32),
    /// The guest reads four bytes of memory.
    Load(u64),
    /// The guest writes four bytes of memory.
    Store(u64, u32),
    /// CPUID: leaf and subleaf.
    Cpuid(u32, u32),
    /// VMMCALL: its number, and the privilege level that it comes from.
    Hypercall(u64, u8),
    /// A fault on guest memory.
    MemoryFault(u64),
    /// An instruction that the CPU does not carry out: the intercept's code.
    Instruction(u64),
    /// RDMSR.
    ReadMsr(u32),
    /// WRMSR.
    WriteMsr(u32, u64),
    /// A line changes: its number, its level, whether it rose.
    Line(u8, bool, bool),
    /// An acceptance is told at once, or the priority has changed.
    Header,
    /// Mail.
    Mail(ServerId, Vec<u8>),
    /// A request by mail.
    Request(ServerId, Vec<u8>),
    /// An interrupt of the host's.
    HostIrq,
    /// The device has taken so many bytes.
    Filled(u16),
    /// The device has given these.
    Drained(Vec<u8>),
    /// A record has come.
    Record(Vec<u8>),
    /// A request has been answered.
    Answered(Option<Vec<u8>>),
}

impl Event {
    /// Whether a message tells the server of it: of what it offers being accepted the next one does.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.body().is_some()
    }

    /// The message that tells, if one does.
    pub(super) fn body(&self) -> Option<Body<'_>> {
        let port = |port, size, value| {
            Fixed(PortExit {
                port,
                size,
                value,
                count: 1,
                ..PortExit::default()
            })
        };
        let memory = |gpa, value| {
            Fixed(MmioExit {
                gpa: Gpa(gpa),
                value,
                size: 4,
                ..MmioExit::default()
            })
        };
        let msr = |index, value| {
            Fixed(MsrExit {
                index,
                value,
                ..MsrExit::default()
            })
        };
        Some(match self {
            Event::Pass(_) | Event::Accept => return None,
            Event::In(number, size) => Body::PortRead(port(*number, *size, 0)),
            Event::Out(number, size, value) => Body::PortWrite(port(*number, *size, *value)),
            Event::Load(gpa) => Body::MmioRead(memory(*gpa, 0)),
            Event::Store(gpa, value) => Body::MmioWrite(memory(*gpa, u64::from(*value))),
            Event::Cpuid(leaf, subleaf) => Body::Cpuid(Fixed(CpuidExit {
                leaf: *leaf,
                subleaf: *subleaf,
                host: HOST,
                cr4: 0,
            })),
            Event::Hypercall(number, cpl) => Body::Hypercall(Fixed(HypercallExit {
                number: *number,
                cpl: *cpl,
                ..HypercallExit::default()
            })),
            Event::MemoryFault(gpa) => Body::MemoryFault(Fixed(NestedFault {
                gpa: Gpa(*gpa),
                error: 0,
            })),
            Event::Instruction(code) => {
                let exit = InstructionExit {
                    code: *code,
                    ..InstructionExit::default()
                };
                Body::Instruction(
                    Fixed(exit),
                    Fixed(Context::default()),
                    Fixed(Registers::default()),
                )
            }
            Event::ReadMsr(index) => Body::MsrRead(msr(*index, 0)),
            Event::WriteMsr(index, value) => Body::MsrWrite(msr(*index, *value)),
            Event::Line(line, level, rose) => Body::Line(LineChange {
                line: LineId::nth(*line),
                level: *level,
                rose: *rose,
            }),
            Event::Header => Body::Accepted,
            Event::Mail(from, bytes) => Body::Mail(*from, bytes),
            Event::Request(from, bytes) => Body::Request(*from, bytes),
            Event::HostIrq => Body::HostIrq(HostIrq::nth(4)),
            Event::Filled(count) => Body::Filled(*count),
            Event::Drained(bytes) => Body::Drained(bytes),
            Event::Record(bytes) => Body::Record(bytes),
            Event::Answered(bytes) => Body::Answered(0, bytes.as_deref()),
        })
    }
}

/// A host's CPU that has everything.
const HOST: Leaf = Leaf {
    eax: u32::MAX,
    ebx: u32::MAX,
    ecx: u32::MAX,
    edx: u32::MAX,
};

/// Time, up to `longest` ticks of a 1 GHz counter, short spans more often than long ones.
fn pass(longest: u64) -> impl Strategy<Value = Event> {
    (0..=longest, 0_u32..16).prop_map(|(span, shift)| Event::Pass(Ticks(span >> shift)))
}

/// Bytes, at most so many.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

/// Some of these.
fn events(one: impl Strategy<Value = Event>) -> impl Strategy<Value = Vec<Event>> {
    vec(one, 0..80)
}
