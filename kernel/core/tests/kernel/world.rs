//! A whole machine on which tests are played: the kernel, its cast, and a guest whose exits are made up.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use atoll_core::machine::Outcome;
use atoll_core::run::{HostEvent, Turn};
use atoll_core::server::Standing;
use atoll_core::ticket::Operation;
use atoll_core::vcpu::events::Events;
use atoll_protocol::effect::Effect;
use atoll_protocol::fault::{FaultReport, Reason};
use atoll_protocol::message::{Body, Message};
use atoll_protocol::units::{Gpa, ServerId, TicketId, Ticks, TimerId};
use zerocopy::IntoBytes;

use crate::cast::SUPERVISOR;
use crate::exits::Exit;
use crate::machine::{Act, Vault};
use crate::memory::Memory;
use crate::script::{ENTRY, Line, Scripted, encode, message};
use crate::simulation::{FRAMES, Simulation, boot};

/// All that anybody outside a server can see of what it has done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observation {
    pub(crate) vmcb: Vec<u8>,
    pub(crate) general: [u64; 16],
    pub xcr0: u64,
    pub(crate) events: Events,
    pub(crate) memory: Memory,
    pub(crate) committed: Vec<Vec<u8>>,
    pub(crate) journal: Vec<Act>,
    pub(crate) frames: u64,
    pub(crate) timers: Vec<(ServerId, TimerId, Ticks)>,
    pub(crate) levels: u64,
    pub(crate) mail: Vec<Vec<(Option<ServerId>, Vec<u8>)>>,
    pub(crate) outstanding: Vec<u8>,
    pub(crate) results: Vec<u8>,
}

/// A machine under test.
pub(crate) struct World {
    pub(crate) kernel: Simulation,
    scripted: Rc<RefCell<Scripted>>,
}

impl World {
    /// A machine with so many frames of memory, whose supervisor is about to get its first message.
    pub(crate) fn with_frames(frames: u64) -> World {
        let scripted = Rc::new(RefCell::new(Scripted::default()));
        World {
            kernel: Simulation::new(Box::new(Rc::clone(&scripted)), frames),
            scripted,
        }
    }

    /// The whole cast is running, and so is the guest.
    pub(crate) fn booted() -> World {
        let mut world = World::with_frames(FRAMES);
        boot()
            .into_iter()
            .for_each(|answer| world.servers().on(SUPERVISOR, Line::Bytes(answer)));
        assert_eq!(world.pass(), Turn::Enter, "{:#?}", world.servers().log);
        assert_eq!(world.kernel.state.vcpu.vmcb.save.rip, ENTRY);
        world.kernel.state.machine.journal.clear();
        world.servers().seen.clear();
        world
    }

    pub(crate) fn servers(&self) -> RefMut<'_, Scripted> {
        self.scripted.borrow_mut()
    }

    /// The next message to this server is answered with these effects.
    pub(crate) fn on(&mut self, server: ServerId, effects: &[Effect<'_>]) {
        self.servers().on(server, Line::Bytes(encode(effects)));
    }

    /// The next activation of this server ends like this.
    pub(crate) fn ends(&mut self, server: ServerId, outcome: Outcome) {
        self.servers().on(server, Line::Ends(outcome));
    }

    /// Runs the kernel until it has nothing more to deliver.
    pub(crate) fn pass(&mut self) -> Turn {
        for _ in 0..1000 {
            match self.kernel.pass() {
                Turn::Again => {}
                turn => return turn,
            }
        }
        panic!("the kernel has always more to deliver");
    }

    /// The guest takes an exit, which the kernel handles up to the next entry.
    pub(crate) fn exit(&mut self, exit: Exit) {
        exit.set(&mut self.kernel);
        self.kernel.exited();
    }

    /// What can be seen right before and right after the kernel handled an exit.
    pub(crate) fn around(&mut self, exit: Exit) -> (Observation, Observation) {
        exit.set(&mut self.kernel);
        self.kernel.state.vcpu.note_exit();
        // What it was entered with is not what the kernel changes.
        let flush = std::mem::take(&mut self.kernel.state.vcpu.vmcb.control.tlb_control);
        let before = self.observe();
        self.kernel.state.vcpu.vmcb.control.tlb_control = flush;
        self.kernel.exited();
        (before, self.observe())
    }

    /// The machine's clock reaches `at`, and the timer fires if it was to.
    pub(crate) fn until(&mut self, at: u64) {
        let machine = &mut self.kernel.state.machine;
        machine.clock = at;
        if machine.armed.0 <= at {
            self.kernel.host_event(HostEvent::Timer);
        }
    }

    /// The messages that this server got, as bytes.
    pub(crate) fn got(&mut self, server: ServerId) -> Vec<Vec<u8>> {
        let seen = &self.servers().seen;
        seen.iter()
            .filter(|(to, _)| *to == server)
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    /// Looks at the last message that this server got.
    pub(crate) fn last<T>(&mut self, server: ServerId, look: impl FnOnce(Message<'_>) -> T) -> T {
        let bytes = self
            .got(server)
            .pop()
            .unwrap_or_else(|| panic!("{server:?} got no message"));
        look(message(&bytes))
    }

    /// The value of the write that was this server's last message.
    pub(crate) fn written(&mut self, server: ServerId) -> u64 {
        self.last(server, |message| match message.body {
            Body::MsrWrite(exit) => exit.0.value,
            Body::PortWrite(exit) => u64::from(exit.0.value),
            Body::MmioWrite(exit) => exit.0.value,
            other => panic!("no write: {other:?}"),
        })
    }

    /// The rule that this server broke, as the supervisor is told it.
    pub(crate) fn fault(&mut self, server: ServerId) -> Option<FaultReport> {
        self.pass();
        let reports = self.got(SUPERVISOR);
        let report = |bytes: &Vec<u8>| match message(bytes).body {
            Body::ServerFaulted(report) if report.server == server => Some(report),
            _ => None,
        };
        reports.iter().rev().find_map(report)
    }

    /// Asserts that this server, and no other, was faulted, for this reason.
    pub(crate) fn assert_fault(&mut self, server: ServerId, reason: Reason) {
        assert_eq!(
            self.fault(server).map(|report| report.reason),
            Some(reason),
            "{:#?}",
            self.servers().log
        );
        for (id, other) in self.kernel.state.servers.iter() {
            assert!(
                id == server || other.standing != Standing::Faulted,
                "{id:?} was faulted beside {server:?}"
            );
        }
    }

    /// Asserts that no server was faulted.
    pub(crate) fn assert_no_fault(&self) {
        let faulted = self
            .kernel
            .state
            .servers
            .0
            .iter()
            .find(|server| server.standing == Standing::Faulted);
        assert!(faulted.is_none(), "{:#?}", self.servers().log);
    }

    /// Open tickets: what waits, and for whom.
    pub(crate) fn waiting(&self) -> Vec<(Operation, ServerId)> {
        self.kernel
            .state
            .tickets
            .named()
            .map(|(_, ticket)| (ticket.operation, ticket.holder))
            .collect()
    }

    /// The name of an open ticket.
    pub(crate) fn ticket(&self, operation: Operation) -> TicketId {
        let mut open = self
            .kernel
            .state
            .tickets
            .named()
            .filter(|(_, ticket)| ticket.operation == operation);
        open.next().expect("no such ticket is open").0
    }

    /// A general register.
    pub(crate) fn register(&self, number: usize) -> u64 {
        self.kernel.state.vcpu.register(number)
    }

    /// The instruction pointer.
    pub(crate) fn rip(&self) -> u64 {
        self.kernel.state.vcpu.vmcb.save.rip
    }

    /// Writes the guest's memory behind everybody's back.
    pub(crate) fn poke(&mut self, gpa: u64, bytes: &[u8]) {
        self.kernel.state.machine.memory.write(Gpa(gpa), bytes);
    }

    /// Forgets what was answered, seen and done, and what is still to be answered.
    pub(crate) fn forget(&mut self) {
        *self.servers() = Scripted::default();
        self.kernel.state.machine.journal.clear();
    }

    /// All that anybody outside a server can see.
    pub(crate) fn observe(&self) -> Observation {
        let state = &self.kernel.state;
        let machine = &state.machine;
        let pairs = |server: &atoll_core::server::Server| {
            (0..atoll_protocol::SERVERS as u8)
                .map(|to| server.undelivered_to(ServerId::nth(to)))
                .collect::<Vec<u8>>()
        };
        let letters = |server: &atoll_core::server::Server| {
            server
                .letters()
                .map(|(from, bytes)| (from, bytes.to_vec()))
                .collect::<Vec<_>>()
        };
        Observation {
            vmcb: state.vcpu.vmcb.as_bytes().to_vec(),
            general: state.vcpu.general,
            xcr0: state.vcpu.xcr0,
            events: state.vcpu.events,
            memory: machine.memory.clone(),
            committed: machine
                .vaults
                .iter()
                .map(|Vault { committed, .. }| committed.clone())
                .collect(),
            journal: machine.journal.clone(),
            frames: machine.frames,
            timers: state.timers.armed().collect(),
            levels: state.levels.bits(),
            mail: state.servers.0.iter().map(letters).collect(),
            outstanding: state.servers.0.iter().flat_map(pairs).collect(),
            results: state
                .servers
                .0
                .iter()
                .map(|server| server.results)
                .collect(),
        }
    }
}
