//! What the host tool asks a running machine, over the control line, and what it gets: postcard in COBS frames.

use serde::{Deserialize, Serialize};

use crate::cause::What;
use crate::fault::FaultReport;
use crate::order::{Order, Outcome};
use crate::role::RoleKind;
use crate::units::Ticks;

/// A question from the host tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Ask<'a> {
    /// Are you there? The number comes back.
    Ping(u32),
    /// All servers.
    Servers,
    /// All exit kinds with a count.
    Exits,
    /// The machine.
    Machine,
    /// Pass this on to the supervisor.
    #[serde(borrow)]
    Order(Order<'a>),
    /// What is kept of a server's last fault, by its slot.
    Dump(u8),
}

/// An answer; a list ends with `End`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Tell<'a> {
    /// To `Ping`.
    Pong(u32),
    /// One server.
    #[serde(borrow)]
    Server(ServerRecord<'a>),
    /// One exit kind.
    Exit(ExitRecord<'a>),
    /// The machine.
    Machine(MachineRecord),
    /// To `Order`: what came of it.
    Outcome(Outcome),
    /// The end of a list, or the answer to a question that was not understood.
    End,
    /// One part of a dump.
    Dump(DumpPart<'a>),
}

/// One server's state and statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ServerRecord<'a> {
    /// Its slot.
    pub id: u8,
    /// Its name from the manifest.
    pub name: &'a str,
    /// The name of the image that it runs, if that is known.
    pub image: &'a str,
    /// Its role.
    pub role: RoleKind,
    /// Where it stands.
    pub state: State,
    /// How often the slot was started.
    pub generation: u32,
    /// How often it was restarted after a fault.
    pub restarts: u32,
    /// Time spent in its activations.
    pub time: Moments,
}

/// Where a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum State {
    /// It is being made.
    Made,
    /// It takes messages.
    Running,
    /// It broke a rule and waits for the supervisor's decision.
    Faulted,
    /// Its role's fallbacks answer for it.
    Quarantined,
    /// It has given its state to a successor that is about to take its place.
    Held,
    /// The slot is free.
    Empty,
}

impl State {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Made => "made",
            State::Running => "running",
            State::Faulted => "faulted",
            State::Quarantined => "quarantined",
            State::Held => "held",
            State::Empty => "empty",
        }
    }
}

/// Writes a record; its length, or `None` if it does not fit.
pub fn pack(record: &impl Serialize, into: &mut [u8]) -> Option<usize> {
    postcard::to_slice(record, into)
        .ok()
        .map(|bytes| bytes.len())
}

/// How many registers a dump has.
pub const REGISTERS: usize = 23;
/// Their names, in order. The vector and the error code are those of the exception, or of the interrupt that found the server hanging.
pub const REGISTER_NAMES: [&str; REGISTERS] = [
    "r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rbp", "rdi", "rsi", "rdx", "rcx", "rbx",
    "rax", "vector", "error", "rip", "cs", "rflags", "rsp", "ss", "cr2",
];
/// Bytes of a message that a dump keeps.
pub const DUMP_MESSAGE: usize = 512;

/// A part of what is kept of a server's last fault. They come in this order: the fault, the registers, the message, the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum DumpPart<'a> {
    /// What happened, and whether it was injected.
    Fault(FaultReport),
    /// Registers where the server was stopped, see [`REGISTER_NAMES`]; all zero if it ended its activation itself.
    Registers([u64; REGISTERS]),
    /// A piece of the page with the message that it was handling, of which the first [`DUMP_MESSAGE`] bytes are kept; zeros if the fault was
    /// between two messages.
    Message(&'a [u8]),
    /// One of the last messages, oldest first: when it was delivered, and what it was about.
    Past(Ticks, What, u64),
}

/// One exit kind's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct ExitRecord<'a> {
    /// Its index, to ask for the next.
    pub index: u8,
    /// Its name.
    pub name: &'a str,
    /// From the exit to the next entry.
    pub time: Moments,
}

/// The machine as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct MachineRecord {
    /// Frequency of the time-stamp counter, in kHz.
    pub tsc_khz: u64,
    /// Ticks since the first entry of the guest.
    pub elapsed: u64,
    /// Exits so far.
    pub exits: u64,
    /// Whether the vCPUs may run.
    pub running: bool,
    /// Free frames of 4 KiB.
    pub free_frames: u64,
    /// Accesses to ports that are nobody's.
    pub stray_ports: u64,
    /// Accesses to addresses that are nobody's.
    pub stray_memory: u64,
    /// Those of both that are touched most, as far as that is kept; the rest has no count.
    pub strays: [Stray; STRAYS],
    /// Where the guest is.
    pub vcpu: VcpuRecord,
}

/// How many ports and addresses that are nobody's are counted one by one.
pub const STRAYS: usize = 6;

/// A port, or an address, that is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Stray {
    /// Whether it is in memory, and not a port.
    pub memory: bool,
    /// Which.
    pub address: u64,
    /// How often it was touched, at most: one that takes another's place goes on with that one's count.
    pub count: u32,
}

/// Where a virtual CPU is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct VcpuRecord {
    /// What it does.
    pub activity: Activity,
    /// RIP.
    pub rip: u64,
    /// Where its code segment begins.
    pub base: u64,
    /// Attributes of its code segment, as in a VMCB.
    pub code: u16,
    /// Its privilege level.
    pub cpl: u8,
    /// CR0, as the guest sees it.
    pub cr0: u64,
    /// EFER, as the guest sees it.
    pub efer: u64,
    /// RFLAGS.
    pub rflags: u64,
}

/// What a virtual CPU does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub enum Activity {
    /// Nothing: it has no state yet, or none any more.
    #[default]
    Stopped,
    /// It executes.
    Running,
    /// It waits for a server's answer.
    Waiting,
    /// It executed HLT.
    Halted,
}

/// Count, extremes, sum and sum of squares of a duration, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Shortest.
    pub min: u64,
    /// Longest.
    pub max: u64,
    /// Sum.
    pub sum: u64,
    /// Sum of squares.
    pub squares: u128,
}

/// What the time between two points was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// In the guest.
    Guest,
    /// Waiting for something to happen.
    Idle,
    /// CPUID.
    Cpuid,
    /// RDMSR.
    MsrRead,
    /// WRMSR.
    MsrWrite,
    /// IN.
    PortIn,
    /// OUT.
    PortOut,
    /// INS, OUTS.
    StringIo,
    /// A nested fault that mapped memory.
    Map,
    /// A nested fault that was a device access.
    Mmio,
    /// VMMCALL.
    Hypercall,
    /// HLT.
    Hlt,
    /// A host interrupt.
    Interrupt,
    /// The interrupt window.
    Window,
    /// An instruction that had to be decoded.
    Instruction,
    /// NMI and machine-check bookkeeping, single steps.
    Event,
    /// The guest crashed.
    Crash,
    /// The guest was held from a server's fault on, until it ran again.
    Recovery,
    /// The guest was held while one server took another's place.
    Succession,
}

/// How many kinds there are.
pub const KINDS: usize = 19;

impl Kind {
    /// Its name in reports.
    #[must_use]
    pub fn name(index: usize) -> &'static str {
        const NAMES: [&str; KINDS] = [
            "guest",
            "idle",
            "cpuid",
            "rdmsr",
            "wrmsr",
            "in",
            "out",
            "string-io",
            "map",
            "mmio",
            "vmmcall",
            "hlt",
            "interrupt",
            "window",
            "instruction",
            "event",
            "crash",
            "recovery",
            "succession",
        ];
        NAMES.get(index).copied().unwrap_or("?")
    }
}
