//! What an activation was about, for the report: a kind, and one number that tells it from others of its kind.

use serde::{Deserialize, Serialize};

/// Why a server was activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause(pub What, pub u64);

/// The kind of a message; the number that goes with it is named behind the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(postcard_schema::Schema))]
#[repr(u8)]
pub enum What {
    /// Nothing yet.
    Nothing,
    /// CPUID: the leaf.
    Cpuid,
    /// RDMSR: the index.
    Rdmsr,
    /// WRMSR: the index.
    Wrmsr,
    /// IN: the port.
    PortIn,
    /// OUT: the port.
    PortOut,
    /// INS, OUTS: EXITINFO1.
    StringIo,
    /// A forwarded string access: the port.
    String,
    /// A nested fault: the gpa.
    Fault,
    /// An instruction to decode: the exit code.
    Instruction,
    /// A forwarded load: the gpa.
    Load,
    /// A forwarded store: the gpa.
    Store,
    /// A forwarded access's result: its token.
    AccessDone,
    /// VMMCALL: the number.
    Vmmcall,
    /// A vector was accepted.
    Accepted,
    /// A line changed: which.
    Line,
    /// A timer expired: which.
    Timer,
    /// A host interrupt: which.
    HostIrq,
    /// Mail: from whom.
    Mail,
    /// A request by mail: from whom.
    Request,
    /// A request was answered: by whom.
    Answered,
    /// A request was given up: by whom.
    GivenUp,
    /// A port was read: the value.
    PortValue,
    /// A device was filled: how many bytes it took.
    Filled,
    /// A device was drained: how many bytes.
    Drained,
    /// A record of the kernel's books: its bytes.
    Record,
    /// The first message: the generation.
    Start,
    /// The guest is to be placed.
    Place,
    /// A server was faulted: which.
    ServerFaulted,
    /// A server started: which.
    ServerStarted,
    /// The guest is placed.
    Loaded,
    /// The machine stopped.
    Stopped,
    /// The first message after a restart: the generation.
    Restarted,
    /// Its state is wanted: for which slot.
    Export,
    /// The first message to a successor: the slot whose state it gets.
    Import,
    /// A succession took too long: of which slot.
    Released,
}

impl What {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::Nothing => "",
            What::Cpuid => "cpuid",
            What::Rdmsr => "rdmsr",
            What::Wrmsr => "wrmsr",
            What::PortIn => "in",
            What::PortOut => "out",
            What::StringIo => "string-io",
            What::String => "string",
            What::Fault => "fault",
            What::Instruction => "instruction",
            What::Load => "load",
            What::Store => "store",
            What::AccessDone => "access-done",
            What::Vmmcall => "vmmcall",
            What::Accepted => "accepted",
            What::Line => "line",
            What::Timer => "timer",
            What::HostIrq => "host-irq",
            What::Mail => "mail",
            What::Request => "request",
            What::Answered => "answered",
            What::GivenUp => "given-up",
            What::PortValue => "port-value",
            What::Filled => "filled",
            What::Drained => "drained",
            What::Record => "record",
            What::Start => "start",
            What::Place => "place",
            What::ServerFaulted => "server-faulted",
            What::ServerStarted => "server-started",
            What::Loaded => "loaded",
            What::Stopped => "stopped",
            What::Restarted => "restarted",
            What::Export => "export",
            What::Import => "import",
            What::Released => "released",
        }
    }
}
