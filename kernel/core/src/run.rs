//! The loop around everything: what happened on the host becomes mail, mail is delivered, and the guest runs on.

use atoll_protocol::fixed::Fixed;
use atoll_protocol::message::{Body, Machine as Facts};
use atoll_protocol::units::{HostIrq, ServerId, TicketId, Ticks};

use crate::delivery::{Due, Step, encode};
use crate::ids::Set;
use crate::machine::Machine;
use crate::mailbox::{Kind as LetterKind, Next};
use crate::statistics::Kind;
use crate::ticket::{LOAD, Operation};
use crate::vcpu::Stand;
use crate::{Kernel, State};
use atoll_protocol::cause::{Cause, What};

/// Messages delivered in one pass: neither two servers that mail each other nor a talkative host keep the guest from running.
const PASS: usize = 8;
/// How often in a millisecond the kernel looks whether the guest is out of an interrupt shadow that it could not step out of.
const LOOKS: u64 = 50;

/// What the machine is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Enter the guest, then call [`Kernel::exited`].
    Enter,
    /// Wait for a host event.
    Idle,
    /// Call again: something happened on the host, or there is more to deliver.
    Again,
    /// Leave with this code.
    Leave(u8),
}

/// Something that happened on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The timer fired.
    Timer,
    /// A device raised its interrupt; it is masked.
    Irq(HostIrq),
}

impl<M: Machine> Kernel<M> {
    /// Takes notice of something that happened on the host.
    pub fn host_event(&mut self, event: HostEvent) {
        let state = &mut self.state;
        match event {
            HostEvent::Timer => {
                let now = state.machine.now();
                while let Some((server, timer)) = state.timers.expired(now) {
                    state.post(server, |mailbox| mailbox.timer(timer));
                }
                while let Some(ticket) = state.tickets.overdue(now) {
                    state.answer_request(ticket, None);
                }
                state.armed = Ticks(u64::MAX);
                let next = state
                    .timers
                    .earliest()
                    .min(state.tickets.earliest())
                    .min(state.succession_ends(now));
                if next.0 != u64::MAX {
                    state.arm(next);
                }
            }
            HostEvent::Irq(irq) => {
                let takes = |owner: &ServerId| state.servers[*owner].grants.host_irqs.contains(irq);
                if let Some(owner) = ServerId::all().find(takes) {
                    state.post(owner, |mailbox| mailbox.irq(irq));
                }
            }
        }
    }

    /// Delivers what waits, up to a bound, and says what comes next.
    #[inline(always)]
    pub fn pass(&mut self) -> Turn {
        if !self.state.ready.is_empty() {
            self.deliver_all();
        }
        let state = &mut self.state;
        if state.machine.has_events() {
            return Turn::Again;
        }
        if state.running && state.vcpu.stand == Stand::Runnable {
            return state.enter();
        }
        state.wait()
    }

    /// Delivers what waits in mailboxes, up to a bound.
    #[inline(never)]
    fn deliver_all(&mut self) {
        if !self.state.due && self.deliver_some() {
            return;
        }
        // It is the guest's turn: as soon as the kernel knows what has happened meanwhile.
        self.state.due = self.state.running && self.state.machine.has_events();
        if self.state.running {
            self.state.look_again();
        }
    }

    /// Delivers up to a number of messages, and up to the guest's turn; true if the guest need not be interrupted for what is left.
    #[inline(always)]
    fn deliver_some(&mut self) -> bool {
        if self.state.share.left < 0
            && let Some(all) = self.deliver_in_guests_turn()
        {
            return all;
        }
        let began = self.state.machine.now();
        let mut all = false;
        self.state.long = false;
        for _ in 0..PASS {
            let Some(server) = self.state.take_turn() else {
                all = true;
                break;
            };
            self.deliver_next(server, false);
            // Whether it is the guest's turn is looked at before anything else may take as long.
            if self.state.long {
                break;
            }
        }
        let used = self.state.machine.now().0.wrapping_sub(began.0);
        self.state.share.left = self.state.share.left.wrapping_sub(used.cast_signed());
        all
    }

    /// If it is the guest's turn, delivers what does not wait for its end, which the timer tells; true as above.
    #[cold]
    #[inline(never)]
    fn deliver_in_guests_turn(&mut self) -> Option<bool> {
        let began = self.state.machine.now();
        let turn = self.state.turn_of_guest(began)?;
        let (mut left, mut waiting) = (PASS, Set::EMPTY);
        for _ in ServerId::all() {
            let Some(server) = self.state.take_turn() else {
                break;
            };
            let greedy = self.state.is_greedy(server);
            if self.deliver_next(server, greedy) {
                left -= 1;
            } else {
                waiting.insert(server);
            }
            if left == 0 || self.state.ready.is_within(waiting) {
                break;
            }
        }
        let ended = self.state.machine.now();
        self.state.share.left = self
            .state
            .share
            .left
            .saturating_sub_unsigned(ended.since(began).0);
        self.state.arm(ended.after(turn));
        Some(left > 0)
    }

    /// Delivers the next thing in a server's mailbox, if there is one; for one that is held timers and interrupts are none.
    #[inline(always)]
    fn deliver_next(&mut self, to: ServerId, held: bool) -> bool {
        let Some(next) = self.state.next_for(to, held) else {
            self.nothing_for(to);
            return false;
        };
        let none = TicketId(0);
        let step = match next {
            Next::Accepted => self.deliver(to, none, Cause(What::Accepted, 0), Body::Accepted),
            Next::Line(change) => self.deliver(
                to,
                none,
                Cause(What::Line, u64::from(change.line.number())),
                Body::Line(change),
            ),
            Next::Timer(timer) => self.deliver(
                to,
                none,
                Cause(What::Timer, u64::from(timer.number())),
                Body::Timer(timer),
            ),
            Next::HostIrq(irq) => self.deliver(
                to,
                none,
                Cause(What::HostIrq, u64::from(irq.number())),
                Body::HostIrq(irq),
            ),
            Next::Letter => self.deliver_letter(to),
            Next::Start => self.deliver_start(to),
            Next::Killed => {
                self.state.kill(to);
                return true;
            }
            Next::Restarted => {
                self.deliver_restarted(to);
                return true;
            }
            Next::Export => self.deliver(to, none, Cause(What::Export, 0), Body::Export),
            Next::Import => self.deliver_import(to),
            Next::Released(server) => self.deliver(
                to,
                none,
                Cause(What::Released, u64::from(server.number())),
                Body::Released(server),
            ),
            Next::Load => {
                let ticket = self.state.tickets.open(LOAD, Operation::Load, to, 0);
                self.deliver(to, ticket, Cause(What::Place, 0), Body::Load)
            }
            Next::ServerFaulted(server) => {
                let report = self.state.servers[server].dump.report();
                let cause = Cause(What::ServerFaulted, u64::from(server.number()));
                report.map_or(Step::Committed, |report| {
                    self.deliver(to, none, cause, Body::ServerFaulted(report))
                })
            }
            Next::ServerStarted(server) => {
                let generation = self.state.servers[server].generation;
                let body = Body::ServerStarted(server, generation);
                self.deliver(
                    to,
                    none,
                    Cause(What::ServerStarted, u64::from(server.number())),
                    body,
                )
            }
            Next::Loaded => self.deliver(to, none, Cause(What::Loaded, 0), Body::Loaded),
            Next::Stopped(why) => {
                self.deliver(to, none, Cause(What::Stopped, 0), Body::MachineStopped(why))
            }
        };
        self.state.delivered(to, next, step);
        true
    }

    fn deliver_letter(&mut self, to: ServerId) -> Step {
        let state = &self.state;
        let letter = state.servers[to].mailbox.letter();
        let bytes = letter.bytes();
        let from = u64::from(letter.from.number());
        let (ticket, cause, body) = match letter.kind {
            LetterKind::Mail => (
                TicketId(0),
                Cause(What::Mail, from),
                Body::Mail(letter.from, bytes),
            ),
            LetterKind::Request(ticket) => (
                ticket,
                Cause(What::Request, from),
                Body::Request(letter.from, bytes),
            ),
            LetterKind::Answered(token) => (
                TicketId(0),
                Cause(What::Answered, from),
                Body::Answered(token, Some(bytes)),
            ),
            LetterKind::GivenUp(token) => (
                TicketId(0),
                Cause(What::GivenUp, from),
                Body::Answered(token, None),
            ),
            LetterKind::PortValue(value) => (
                TicketId(0),
                Cause(What::PortValue, u64::from(value)),
                Body::PortValue(value),
            ),
            LetterKind::Filled(count) => (
                TicketId(0),
                Cause(What::Filled, u64::from(count)),
                Body::Filled(count),
            ),
            LetterKind::Drained => (
                TicketId(0),
                Cause(What::Drained, bytes.len() as u64),
                Body::Drained(bytes),
            ),
            LetterKind::Record => (
                TicketId(0),
                Cause(What::Record, bytes.len() as u64),
                Body::Record(bytes),
            ),
        };
        let header = state.header(to, ticket, state.machine.now());
        let length = encode(&mut self.pages, to, header, body);
        self.activate(Due {
            to,
            ticket,
            length,
            now: header.now,
            cause,
        })
    }

    fn deliver_start(&mut self, to: ServerId) -> Step {
        let state = &self.state;
        let facts = state.facts(to);
        let server = &state.servers[to];
        let config = server.config.get(..server.config_length).unwrap_or(&[]);
        let header = state.header(to, TicketId(0), state.machine.now());
        let length = encode(
            &mut self.pages,
            to,
            header,
            Body::Start(Fixed(facts), config),
        );
        let cause = Cause(What::Start, u64::from(server.generation));
        self.activate(Due {
            to,
            ticket: TicketId(0),
            length,
            now: header.now,
            cause,
        })
    }
}

impl<M: Machine> State<M> {
    /// The machine's facts, as this server learns them.
    pub(crate) fn facts(&self, to: ServerId) -> Facts {
        let machine = &self.machine;
        let (basic, structured, extended) = (
            machine.cpuid(1, 0),
            machine.cpuid(7, 0),
            machine.cpuid(0x8000_0001, 0),
        );
        let states = machine.cpuid(0xd, 0).eax;
        let (ecx, edx) = (extended.ecx, extended.edx);
        Facts {
            schema: atoll_protocol::SCHEMA_HASH,
            tsc_khz: machine.tsc_khz(),
            memory: machine.guest_size(),
            bundle: machine.bundle_size(),
            wall_seconds: machine.wall_seconds(),
            vcpus: 1,
            physical_bits: machine.physical_bits(),
            frames: if to == ServerId::SUPERVISOR {
                machine.free_frames()
            } else {
                0
            },
            features: [
                basic.ecx,
                basic.edx,
                structured.ebx,
                structured.ecx,
                structured.edx,
                ecx,
                edx,
                states,
            ],
        }
    }

    #[inline(always)]
    fn enter(&mut self) -> Turn {
        if self.vcpu.prepare_entry(&self.machine) {
            self.look_again();
        }
        self.statistics.switch(self.machine.now(), Kind::Guest);
        Turn::Enter
    }

    /// The guest is not simply running on.
    #[inline(never)]
    fn wait(&mut self) -> Turn {
        if let Some(code) = self.leave {
            return Turn::Leave(code);
        }
        if self.running && self.vcpu.stand == Stand::Halted && self.vcpu.wakes() {
            self.vcpu.stand = Stand::Runnable;
            return self.enter();
        }
        if !self.ready.is_empty() {
            return Turn::Again;
        }
        if self.statistics.first.0 != 0 && self.absent.is_empty() {
            self.statistics.switch(self.machine.now(), Kind::Idle);
        }
        Turn::Idle
    }

    /// The guest is interrupted soon, for what could not go in now.
    #[cold]
    fn look_again(&mut self) {
        let soon = self
            .machine
            .now()
            .0
            .saturating_add(self.machine.tsc_khz() / LOOKS);
        self.arm(Ticks(soon));
    }

    /// The next server with something to deliver, in turn.
    #[inline(always)]
    fn take_turn(&mut self) -> Option<ServerId> {
        let next = self.ready.next_from(self.turn)?;
        self.turn = next.after();
        Some(next)
    }

    #[inline(always)]
    fn next_for(&mut self, to: ServerId, held: bool) -> Option<Next> {
        let server = &self.servers[to];
        let next = if server.is_running() {
            server.mailbox.next(held)
        } else {
            None
        };
        // An emulator hands over between two instructions: no other knows what it has fetched, and a device is not read again.
        let carries_out = self.routes.mmu == Some(to) && self.vcpu.has_stand_ins();
        let next = next.filter(|next| !(matches!(next, Next::Export) && carries_out));
        if next.is_none() && !(held && server.is_running() && server.mailbox.next(false).is_some())
        {
            self.ready.remove(to);
        }
        next
    }

    /// Takes what was committed out of the mailbox. What was not stays in its slot: with a faulted server until it is restarted.
    pub(crate) fn delivered(&mut self, to: ServerId, next: Next, step: Step) {
        match step {
            Step::Committed => self.take_out(to, next),
            Step::Faulted if to == ServerId::SUPERVISOR => self.drop_poison(next),
            _ => {}
        }
    }

    /// A server has heard that it begins, or begins anew; one that has handed its state over with that is held further.
    #[cold]
    fn begun(&mut self, id: ServerId, how: Next) {
        if self.absent.contains(id) && self.servers[id].is_running() {
            self.return_of(id);
        }
        if id != ServerId::SUPERVISOR && !matches!(how, Next::Restarted) {
            self.imported(id);
            self.post(ServerId::SUPERVISOR, |mailbox| mailbox.server_started(id));
        }
    }

    /// What was delivered is done with.
    pub(crate) fn take_out(&mut self, to: ServerId, next: Next) {
        let server = &mut self.servers[to];
        let letter = if matches!(next, Next::Letter) {
            Some((server.mailbox.letter().kind, server.mailbox.letter().from))
        } else {
            None
        };
        server.mailbox.done(next);
        match (next, letter) {
            (_, Some((kind, _))) if kind.is_result() => {
                server.results = server.results.saturating_sub(1)
            }
            (_, Some((_, from))) => {
                let outstanding = &mut self.servers[from].outstanding[to];
                *outstanding = outstanding.saturating_sub(1);
            }
            (Next::HostIrq(irq), _) => self.machine.unmask(irq),
            (Next::Start | Next::Import | Next::Restarted, _) => self.begun(to, next),
            _ => {}
        }
    }
}
