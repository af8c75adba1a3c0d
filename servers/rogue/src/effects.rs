//! Effects that the rogue has no right to: those of other roles, those without a grant, and those beyond what was granted.

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::effect::{
    Effect, Fifo, Forward, GuestCas, GuestCopy, Mapping, Offer, Query, Segment, Signal, Supervise,
};
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits, Route};
use atoll_protocol::message::{Leaf, Stop};
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{Gpa, LineId, ServerId, TicketId, Ticks, TimerId};
use atoll_protocol::vcpu::{Exception, InitialState, SystemRegister};
use zerocopy::IntoBytes;

use crate::answer::Answer;
use crate::ring3::page;
use crate::server::RogueState;

misdeeds! {
    /// Answering with an effect that is not its own.
    Effects {
        /// Completes a CPUID.
        Leaf,
        /// Completes a string read.
        Data,
        /// Raises an exception in the guest.
        Exception,
        /// Lets the guest run the instruction again.
        Resume,
        /// Forwards its access to somebody else.
        Forward,
        /// Asks for the guest's registers.
        NeedRegisters,
        /// Keeps the vCPU waiting.
        Defer,
        /// Answers somebody else's mail.
        Reply,
        /// Sets a register of the guest.
        Register,
        /// Sets a control register of the guest.
        System,
        /// Sets all of the guest's registers.
        Initial,
        /// Offers an interrupt.
        Offer,
        /// Writes guest memory.
        GuestWrite,
        /// Swaps guest memory.
        GuestCas,
        /// Copies into guest memory.
        GuestCopy,
        /// Maps guest memory.
        Map,
        /// Unmaps guest memory.
        Unmap,
        /// Raises another's line.
        AnothersLine,
        /// Raises a line that does not exist.
        NoLine,
        /// Arms a timer beyond its own.
        AnothersTimer,
        /// Disarms a timer that does not exist.
        NoTimer,
        /// Writes a host port.
        PortOut,
        /// Reads a host port.
        PortIn,
        /// Fills a host device.
        Fill,
        /// Drains a host device.
        Drain,
        /// Mails a server that it may not mail.
        AnothersMail,
        /// Mails a server that does not exist.
        MailToNobody,
        /// Mails more bytes than a mail has.
        MailTooLong,
        /// Mails more than its credit.
        MailBeyondCredit,
        /// Sends a request.
        Request,
        /// Asks the kernel for records.
        Query,
        /// Stops the machine.
        Stop,
        /// Saves vault lines that it does not have.
        SaveBeyondVault,
        /// Saves the last possible lines: first and count as large as they can be.
        SaveFarBeyondVault,
        /// Saves no lines.
        SaveNothing,
        /// Makes a server.
        Create,
        /// Gives itself a right.
        Grant,
        /// Gives itself a route.
        Route,
        /// Fills memory.
        Segment,
        /// Starts a server.
        Start,
        /// Destroys a server.
        Destroy,
        /// Makes a machine.
        CreateMachine,
        /// Has a guest loaded.
        Load,
        /// Lets the guest run.
        Run,
        /// Ends the host.
        Exit,
    }
}

/// A server other than the rogue, the console and the supervisor.
const SOMEBODY: ServerId = ServerId::nth(1);
/// A line that is another's.
const ANOTHERS_LINE: LineId = LineId::nth(4);
/// A device that is another's: the console's.
const DEVICE: Fifo = Fifo {
    status: 0x3fd,
    mask: 0x20,
    data: 0x3f8,
    burst: 1,
};
const TARGET: Gpa = Gpa(0x10_0000);
const MAPPING: Mapping = Mapping {
    gpa: Gpa(0),
    size: Mapping::LARGE,
    access: Mapping::WRITE | Mapping::EXECUTE,
};
const LIMITS: Limits = Limits {
    vault_lines: 1,
    stack_pages: 1,
    budget_us: 1,
    period_us: 1,
    timers: 0,
};

impl Effects {
    pub(crate) fn commit(self, state: &RogueState) -> ! {
        let mut answer = Answer::granted(page(), state);
        let (console, text) = (ServerId::nth(state.console), [b'x'; MAIL_BYTES + 1]);
        if self == Effects::MailBeyondCredit {
            answer.put(&Effect::Mail(console, b"second"));
        }
        let initial = InitialState {
            rip: 0x10_0000,
            ..InitialState::default()
        };
        answer.put(&match self {
            Effects::Leaf => Effect::Leaf(Fixed(Leaf::default())),
            Effects::Data => Effect::Data(b"x"),
            Effects::Exception => Effect::Exception(Fixed(Exception::UNDEFINED)),
            Effects::Resume => Effect::Resume,
            Effects::Forward => {
                let forward = Forward {
                    address: 0xfee0_0000,
                    count: 1,
                    size: 4,
                    write: 1,
                    finish: Forward::STORE,
                    ..Forward::default()
                };
                Effect::Forward(Fixed(forward), &[])
            }
            Effects::NeedRegisters => Effect::NeedRegisters,
            Effects::Defer => Effect::Defer(Fixed(Ticks(0))),
            Effects::Reply => Effect::Reply(TicketId(0x102), b"yes"),
            Effects::Register => Effect::Register(3, Fixed(u64::MAX)),
            Effects::System => Effect::System(SystemRegister::Cr3, Fixed(0)),
            Effects::Initial => Effect::Initial(0, initial.as_bytes()),
            Effects::Offer => Effect::Offer(Fixed(Offer {
                vcpu: 0,
                vector: 0x30,
                kind: Offer::FIXED,
                nmi: 1,
            })),
            Effects::GuestWrite => Effect::GuestWrite(Fixed(TARGET), b"rogue"),
            Effects::GuestCas => Effect::GuestCas(Fixed(GuestCas {
                gpa: TARGET,
                old: 0,
                new: 1,
                size: 8,
            })),
            Effects::GuestCopy => Effect::GuestCopy(Fixed(GuestCopy {
                gpa: TARGET,
                offset: 0,
                length: 512,
            })),
            Effects::Map => Effect::Map(Fixed(MAPPING)),
            Effects::Unmap => Effect::Unmap(Fixed(MAPPING)),
            Effects::AnothersLine => Effect::Line(ANOTHERS_LINE, Signal::Raise),
            Effects::NoLine => Effect::Line(LineId::nth(23), Signal::Pulse),
            Effects::AnothersTimer => Effect::Arm(TimerId::nth(2), Fixed(Ticks(0))),
            Effects::NoTimer => Effect::Disarm(TimerId::nth(3)),
            Effects::PortOut => Effect::PortOut(DEVICE.data, 1, u32::from(b'x')),
            Effects::PortIn => Effect::PortIn(DEVICE.status, 1),
            Effects::Fill => Effect::Fill(DEVICE, b"rogue"),
            Effects::Drain => Effect::Drain(DEVICE, 1),
            Effects::AnothersMail => Effect::Mail(SOMEBODY, b"hello"),
            Effects::MailToNobody => Effect::Mail(ServerId::nth(30), b"hello"),
            Effects::MailTooLong => Effect::Mail(console, &text),
            Effects::MailBeyondCredit => Effect::Mail(console, b"third"),
            Effects::Request => Effect::Request(console, 1, b"flush"),
            Effects::Query => Effect::Query(Query::Machine),
            Effects::Stop => Effect::Stop(Stop::PowerOff),
            Effects::SaveBeyondVault => Effect::Save(63, 2),
            Effects::SaveFarBeyondVault => Effect::Save(u16::MAX, u16::MAX),
            Effects::SaveNothing => Effect::Save(0, 0),
            _ => Effect::Supervise(self.of_the_supervisor()),
        });
        answer.put(&Effect::Done);
        answer.send()
    }

    fn of_the_supervisor(self) -> Supervise<'static> {
        let segment = Segment {
            address: 0x40_0000,
            offset: 0,
            file: 16,
            memory: 4096,
            access: Segment::EXECUTE,
        };
        match self {
            Effects::Create => Supervise::Create(
                ServerId::nth(20),
                RoleKind::Serial,
                LIMITS,
                "accomplice",
                "rogue",
            ),
            Effects::Grant => Supervise::Grant(SOMEBODY, Grant::GuestWrite),
            Effects::Route => Supervise::Route(SOMEBODY, Route::Ports(0x5d0, 0x5d0)),
            Effects::Segment => Supervise::Segment(SOMEBODY, Fixed(segment)),
            Effects::Start => Supervise::Start(SOMEBODY, Fixed(0x40_0000), &[]),
            Effects::Destroy => Supervise::Destroy(SOMEBODY),
            Effects::CreateMachine => Supervise::CreateMachine(Fixed(2 << 20), 1, Fixed(0)),
            Effects::Load => Supervise::Load(SOMEBODY),
            Effects::Run => Supervise::Run,
            _ => Supervise::Exit(16),
        }
    }
}
