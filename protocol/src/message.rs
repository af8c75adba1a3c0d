//! What the kernel says to a server: one message per activation.

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::fault::{FaultReport, Reason};
use crate::fixed::Fixed;
use crate::units::{Gpa, HostIrq, LineId, ServerId, TicketId, Ticks, TimerId};
use crate::vcpu::{Context, Registers};

/// One activation's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Message<'m> {
    /// What every message carries.
    pub header: Fixed<Header>,
    /// What happened.
    #[serde(borrow)]
    pub body: Body<'m>,
}

/// What every message carries.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Header {
    /// When the kernel wrote the message, by the host's TSC. The only clock a server has.
    pub now: Ticks,
    /// The operation that waits for the answer; 0 if nothing waits.
    pub ticket: TicketId,
    /// The virtual CPU concerned.
    pub vcpu: u8,
    /// That CPU's task priority (V_TPR, CR8); to the irqchip only, else 0.
    pub tpr: u8,
    /// The vector that the CPU has accepted since the last message (to the irqchip only), or [`Header::NOT_ACCEPTED`].
    pub accepted: u16,
}

impl Header {
    /// No vector was accepted.
    pub const NOT_ACCEPTED: u16 = 0xffff;
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Body<'m> {
    /// CPUID.
    Cpuid(Fixed<CpuidExit>),
    /// RDMSR.
    MsrRead(Fixed<MsrExit>),
    /// WRMSR.
    MsrWrite(Fixed<MsrExit>),
    /// IN.
    PortRead(Fixed<PortExit>),
    /// OUT.
    PortWrite(Fixed<PortExit>),
    /// One chunk of INS: answer with `Data` of `count * size` bytes.
    PortReadString(Fixed<PortExit>),
    /// One chunk of OUTS: `count * size` bytes to write, in order.
    PortWriteString(Fixed<PortExit>, #[serde(borrow)] &'m [u8]),
    /// A load from a device's memory.
    MmioRead(Fixed<MmioExit>),
    /// A store to a device's memory.
    MmioWrite(Fixed<MmioExit>),
    /// VMMCALL.
    Hypercall(Fixed<HypercallExit>),
    /// A nested page fault on the guest's RAM: mapping it takes no look at the instruction. After `NeedRegisters` it comes as
    /// `NestedFault`.
    MemoryFault(Fixed<NestedFault>),
    /// A nested page fault; the registers are there after `NeedRegisters`.
    NestedFault(Fixed<NestedFault>, Fixed<Context>, Option<Fixed<Registers>>),
    /// INS or OUTS.
    StringIo(
        Fixed<StringIoExit>,
        Fixed<Context>,
        Option<Fixed<Registers>>,
    ),
    /// An instruction that the kernel intercepts but does not decode; registers always included.
    Instruction(Fixed<InstructionExit>, Fixed<Context>, Fixed<Registers>),
    /// A forwarded access with `Finish::RETURN` is done; registers always included.
    AccessDone(
        Fixed<AccessDone>,
        Fixed<Context>,
        Fixed<Registers>,
        #[serde(borrow)] &'m [u8],
    ),
    /// An interrupt line changed.
    Line(LineChange),
    /// A timer of the server expired.
    Timer(TimerId),
    /// Nothing but the header's `accepted` and `tpr`.
    Accepted,
    /// A host interrupt; masked until this activation commits.
    HostIrq(HostIrq),
    /// `PortIn` was carried out.
    PortValue(u32),
    /// `Drain` was carried out: the bytes read.
    Drained(&'m [u8]),
    /// `Fill` was carried out: how many bytes the device took.
    Filled(u16),
    /// Mail without a ticket.
    Mail(ServerId, &'m [u8]),
    /// A request by mail: the header's ticket waits for `Reply`.
    Request(ServerId, &'m [u8]),
    /// The answer to a request that this server sent with `token`; `None` if it was given up.
    Answered(u32, Option<&'m [u8]>),
    /// First message: the server's configuration from the manifest and the machine's facts.
    Start(Fixed<Machine>, &'m [u8]),
    /// To the loader: place the guest.
    Load,
    /// To the control server: the answer to `Query`, one record.
    Record(&'m [u8]),
    /// To the supervisor: a server was faulted.
    ServerFaulted(FaultReport),
    /// To the supervisor: a server's `Start`, or `Import`, was committed, and which generation of its slot it is.
    ServerStarted(ServerId, u32),
    /// To the supervisor: the loader has placed the guest.
    Loaded,
    /// To the supervisor: the virtual machine stopped by itself.
    MachineStopped(Stop),
    /// First message after a restart: the vault is as it was committed last, everything else is as in the image.
    Restarted(Reason, Fixed<Held>),
    /// Say what a successor needs to know, with `Exported`: it gets everything that comes after this.
    Export,
    /// First message to a successor: what `Start` has, then the state, and whether the successor may take something away from the guest.
    Import(Fixed<Machine>, &'m [u8], &'m [u8], bool),
    /// To the supervisor: a server that was to be succeeded goes on itself, since that took too long.
    Released(ServerId),
}

/// Why a virtual machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Stop {
    /// The guest switched the power off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// A triple fault, or a state that the CPU refuses to run.
    Crash,
    /// The loader refused the guest.
    Refused,
    /// A server was faulted.
    ServerFault,
}

/// Requests by mail that a server holds, and that it still has to answer.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Held {
    /// Their tickets; 0 is none.
    pub tickets: [TicketId; 8],
}

/// The machine's facts, as every server learns them at its start.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Machine {
    /// [`crate::SCHEMA_HASH`] of the kernel: first, so that it is here in every version.
    pub schema: u64,
    /// Frequency of the time-stamp counter, in kHz.
    pub tsc_khz: u64,
    /// Bytes of guest memory.
    pub memory: u64,
    /// Bytes of the bundle, as mapped for those who may read it.
    pub bundle: u64,
    /// Seconds since 1970 at `header.now`, by the host's clock.
    pub wall_seconds: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Physical address bits of the host.
    pub physical_bits: u32,
    /// Free frames of 4 KiB, to the supervisor, which is to make do with them ([`crate::frames`]); to others 0.
    pub frames: u64,
    /// What the host's CPU says of itself, in the order of [`CpuidState::features`](crate::interchange::CpuidState::features).
    pub features: [u32; 8],
}

/// One CPUID leaf's result.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// CPUID: which leaf, and what the host says to it.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct CpuidExit {
    /// EAX.
    pub leaf: u32,
    /// ECX.
    pub subleaf: u32,
    /// The host's own answer.
    pub host: Leaf,
    /// The guest's CR4 (leaf 1 shows OSXSAVE), and [`CpuidExit::APIC_OFF`].
    pub cr4: u64,
}

impl CpuidExit {
    /// Set in `cr4`, where CR4 never has a bit: the local APIC is disabled.
    pub const APIC_OFF: u64 = 1 << 63;
}

/// RDMSR or WRMSR.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct MsrExit {
    /// ECX.
    pub index: u32,
    /// Not used; zero.
    pub reserved: u32,
    /// EDX:EAX of a write; 0 for a read.
    pub value: u64,
    /// What the kernel holds for this MSR where the vCPU record has it (EFER, PAT, TSC), else 0.
    pub held: u64,
    /// The guest's CR0.
    pub cr0: u64,
}

/// A port access.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PortExit {
    /// Port number.
    pub port: u16,
    /// Bytes per access: 1, 2 or 4.
    pub size: u8,
    /// Not used; zero.
    pub reserved: u8,
    /// Value of a write, zero-extended.
    pub value: u32,
    /// Accesses in this chunk (string forms), else 1.
    pub count: u32,
}

/// An access to a device's memory.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct MmioExit {
    /// Address.
    pub gpa: Gpa,
    /// Value of a write, zero-extended.
    pub value: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Not used; zero.
    pub reserved: [u8; 7],
}

/// VMMCALL by the KVM convention: number and four arguments.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct HypercallExit {
    /// RAX.
    pub number: u64,
    /// RBX, RCX, RDX, RSI.
    pub arguments: [u64; 4],
    /// Privilege level of the caller.
    pub cpl: u8,
    /// Not used; zero.
    pub reserved: [u8; 7],
}

/// A nested page fault (APM vol. 2 §15.25.6).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NestedFault {
    /// The guest-physical address that faulted.
    pub gpa: Gpa,
    /// EXITINFO1: page-fault error bits; bit 32 the final access, bit 33 a walk of the guest's tables.
    pub error: u64,
}

/// INS or OUTS, as EXITINFO1 has it (APM vol. 2 §15.10.2).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct StringIoExit {
    /// EXITINFO1: bit 0 IN, 2 string, 3 REP, 4 to 6 operand size, 7 to 9 address size, 10 to 12 segment, 16 to 31 port.
    pub info: u64,
    /// RIP of the next instruction.
    pub next_rip: u64,
}

/// An intercepted instruction that must be decoded.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct InstructionExit {
    /// The exit code (APM vol. 2, appendix C).
    pub code: u64,
    /// The bytes at RIP, as far as they could be fetched; then zeros.
    pub bytes: [u8; 15],
    /// How many could be fetched: fewer than 15 where the next page cannot be read.
    pub fetched: u8,
}

/// The result of a forwarded access that comes back to the emulator.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct AccessDone {
    /// The emulator's own token from the forward.
    pub token: u64,
    /// The value read; 0 after a write and for strings.
    pub value: u64,
}

/// How an interrupt line changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct LineChange {
    /// The line.
    pub line: LineId,
    /// Its level now.
    pub level: bool,
    /// Whether it has risen since the last message about it (also if it fell again).
    pub rose: bool,
}
