//! What only the supervisor may do: make servers, give them rights, build and run the machine.

use atoll_protocol::effect::{Effect, Segment, Supervise};
use atoll_protocol::fault::Reason;
use atoll_protocol::fixed::Fixed;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::{IMAGE, IMAGE_END, RAM_UNIT, STACK_MAX_PAGES, VAULT_MAX};
use atoll_protocol::name::Name;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{ServerId, TicketId};
use atoll_protocol::{LINE, TIMERS, frames};

use crate::State;
use crate::check::{Check, require};
use crate::machine::Machine;
use crate::mailbox::{KILLED, LETTERS, RESULTS, START};
use crate::server::{SEGMENTS, Server, Standing, credit_for};
use crate::ticket::LOAD;
use crate::vcpu::Stand;

const PAGE: u64 = 4096;

impl<M: Machine> Check<'_, M> {
    /// Checks one of the supervisor's own effects.
    pub(crate) fn supervise(&mut self, effect: &Supervise<'_>) -> Result<(), Reason> {
        let earlier = self.earlier();
        let before = || {
            earlier.clone().filter_map(|effect| {
                if let Effect::Supervise(supervise) = effect {
                    Some(supervise)
                } else {
                    None
                }
            })
        };
        let made = |id: ServerId| {
            before().any(|effect| matches!(effect, Supervise::Create(other, ..) if other == id))
        };
        let destroyed = |id: ServerId| {
            before().any(|effect| matches!(effect, Supervise::Destroy(other) if other == id))
        };
        let standing = |id: ServerId| {
            let standing = self.state.servers[id].standing;
            Some(standing).filter(|_| !destroyed(id))
        };
        let exists = |id: ServerId| {
            id != ServerId::SUPERVISOR
                && (made(id) || standing(id).is_some_and(|standing| standing != Standing::Empty))
        };
        match effect {
            Supervise::Create(id, role, limits, name, image) => {
                require(
                    *id != ServerId::SUPERVISOR
                        && standing(*id) == Some(Standing::Empty)
                        && !made(*id),
                    Reason::BadValue,
                )?;
                require(
                    *role != RoleKind::Supervisor && name.len().max(image.len()) <= Name::BYTES,
                    Reason::BadValue,
                )?;
                require(
                    u64::from(limits.vault_lines) * LINE as u64 <= VAULT_MAX,
                    Reason::BadValue,
                )?;
                require(
                    limits.stack_pages > 0 && u64::from(limits.stack_pages) <= STACK_MAX_PAGES,
                    Reason::BadValue,
                )?;
                require(
                    usize::from(limits.timers) <= TIMERS && limits.budget_us > 0,
                    Reason::BadValue,
                )?;
                self.take_frames(frames::of_server(limits))
            }
            Supervise::Grant(id, grant) => {
                require(exists(*id), Reason::BadValue)?;
                let ports = |effect: &Supervise<'_>| matches!(effect, Supervise::Grant(other, Grant::HostPorts(..)) if other == id);
                let ports = before().filter(ports).count();
                let fits = self.state.servers[*id].has_room(*grant, ports);
                let is_window = matches!(grant, Grant::GuestRead | Grant::Bundle);
                let twice =
                    is_window && before().any(|effect| effect == Supervise::Grant(*id, *grant));
                require(fits && !twice, Reason::BadValue)?;
                let promised = before().find_map(|effect| match effect {
                    Supervise::CreateMachine(bytes, ..) => Some(bytes.0),
                    _ => None,
                });
                let memory = promised.unwrap_or(self.state.machine.guest_size());
                self.take_frames(frames::of_grant(
                    *grant,
                    memory,
                    self.state.machine.bundle_size(),
                ))?;
                if let Grant::HostIrq(irq) = grant {
                    let mut others = self
                        .state
                        .servers
                        .iter()
                        .filter(|(other, _)| !destroyed(*other));
                    let held = others.any(|(_, server)| server.grants.host_irqs.contains(*irq));
                    let again = before().any(
                        |effect| matches!(effect, Supervise::Grant(_, other) if other == *grant),
                    );
                    require(!held && !again, Reason::BadValue)?;
                }
                if let Grant::Mail(to, credit) = grant {
                    let promised: u32 = before().map(|effect| mail_credit(&effect, *to)).sum();
                    let all = credit_for(&self.state.servers, *to)
                        + promised
                        + u32::from(*credit)
                        + u32::from(RESULTS);
                    require(all <= LETTERS as u32, Reason::Exhausted)?;
                }
                Ok(())
            }
            Supervise::Route(id, route) => {
                require(exists(*id), Reason::BadValue)?;
                let clash = before().any(
                    |effect| matches!(effect, Supervise::Route(_, other) if other.overlaps(*route)),
                );
                let routes = before()
                    .filter(|effect| matches!(effect, Supervise::Route(..)))
                    .count();
                require(
                    !clash && self.state.routes.is_free(*route, routes),
                    Reason::BadValue,
                )?;
                require(!self.state.is_successor(*id), Reason::BadValue)?;
                // An exit to a server that was never started would wait for ever.
                let starts = before()
                    .any(|effect| matches!(effect, Supervise::Start(other, ..) if other == *id));
                require(
                    starts
                        || !matches!(standing(*id), None | Some(Standing::Empty | Standing::Made)),
                    Reason::BadValue,
                )
            }
            Supervise::Segment(id, segment) => {
                require(
                    made(*id) || standing(*id) == Some(Standing::Made),
                    Reason::BadValue,
                )?;
                let same = |effect: &Supervise<'_>| matches!(effect, Supervise::Segment(other, _) if other == id);
                let server = &self.state.servers[*id];
                let filled = if made(*id) { 0 } else { server.segment_count };
                require(
                    filled + before().filter(same).count() < SEGMENTS,
                    Reason::BadValue,
                )?;
                self.segment(&segment.0)?;
                let ends = before().filter_map(|effect| match effect {
                    Supervise::Segment(other, earlier) if other == *id => {
                        Some(frames::end_of(&earlier.0))
                    }
                    _ => None,
                });
                // Ascending, so that none overlaps another.
                let filled = server.filled.max(ends.max().unwrap_or(0));
                require(segment.0.address >= filled, Reason::BadValue)?;
                self.take_frames(frames::of_segment(filled, &segment.0))
            }
            Supervise::Start(id, entry, config) => {
                require(
                    made(*id) || standing(*id) == Some(Standing::Made),
                    Reason::BadValue,
                )?;
                require(
                    (IMAGE..IMAGE_END).contains(&entry.0) && config.len() <= Server::CONFIG,
                    Reason::BadValue,
                )
            }
            Supervise::Destroy(id) => require(exists(*id) && !made(*id), Reason::BadValue),
            Supervise::CreateMachine(bytes, vcpus, _) => {
                let again = before().any(|effect| matches!(effect, Supervise::CreateMachine(..)));
                require(
                    !again && self.state.machine.guest_size() == 0 && *vcpus == 1,
                    Reason::BadValue,
                )?;
                require(
                    bytes.0.is_multiple_of(RAM_UNIT) && bytes.0 > 0,
                    Reason::BadValue,
                )?;
                require(self.state.machine.can_hold(bytes.0), Reason::Exhausted)?;
                self.take_frames(
                    frames::of_memory(bytes.0).saturating_add(frames::of_nested(bytes.0)),
                )
            }
            Supervise::Load(id) => {
                let server = &self.state.servers[*id];
                let loader =
                    server.is_running() && server.role == RoleKind::Loader && !destroyed(*id);
                require(loader && self.state.tickets.is_free(LOAD), Reason::BadValue)
            }
            Supervise::Run => require(self.state.vcpu.stand != Stand::Stopped, Reason::BadValue),
            Supervise::Exit(_) => Ok(()),
            Supervise::Restart(id) => {
                let down = matches!(
                    standing(*id),
                    Some(Standing::Faulted | Standing::Quarantined)
                );
                require(
                    *id != ServerId::SUPERVISOR && down && !self.state.is_successor(*id),
                    Reason::BadValue,
                )
            }
            Supervise::Quarantine(id) => {
                let up = matches!(standing(*id), Some(Standing::Running | Standing::Faulted));
                require(*id != ServerId::SUPERVISOR && up, Reason::BadValue)
            }
            Supervise::Kill(id) => {
                require(*id == ServerId::SUPERVISOR || exists(*id), Reason::BadValue)
            }
            Supervise::Succeed(id, of, entry, _, config) => {
                require(
                    made(*id) || standing(*id) == Some(Standing::Made),
                    Reason::BadValue,
                )?;
                require(
                    (IMAGE..IMAGE_END).contains(&entry.0) && config.len() <= Server::CONFIG,
                    Reason::BadValue,
                )?;
                let again = before().any(|effect| matches!(effect, Supervise::Succeed(..)));
                let restarted = before()
                    .any(|effect| matches!(effect, Supervise::Restart(other) if other == *of));
                let running = *of != ServerId::SUPERVISOR
                    && (restarted || standing(*of) == Some(Standing::Running));
                require(
                    !again && self.state.succession.is_none() && running,
                    Reason::BadValue,
                )
            }
            Supervise::Exchange(id, of, generation) => {
                let again = before().any(|effect| matches!(effect, Supervise::Exchange(..)));
                let ready = standing(*id) == Some(Standing::Running)
                    && standing(*of) == Some(Standing::Held);
                let told = self.state.servers[*id].generation == *generation;
                require(
                    !again && ready && told && self.state.is_complete(*id, *of),
                    Reason::BadValue,
                )
            }
            Supervise::Write(Fixed(offset), bytes) => {
                let end = offset.saturating_add(bytes.len() as u64);
                require(
                    *offset >= self.state.reserve && end <= self.state.machine.bundle_size(),
                    Reason::BadValue,
                )
            }
        }
    }

    fn take_frames(&mut self, frames: u64) -> Result<(), Reason> {
        self.frames = self.frames.saturating_add(frames);
        require(
            self.frames <= self.state.machine.free_frames(),
            Reason::Exhausted,
        )
    }

    fn segment(&self, segment: &Segment) -> Result<(), Reason> {
        let end = segment
            .address
            .checked_add(segment.memory)
            .ok_or(Reason::BadValue)?;
        let file = segment
            .offset
            .checked_add(segment.file)
            .ok_or(Reason::BadValue)?;
        let place = segment.address.is_multiple_of(PAGE)
            && segment.address >= IMAGE
            && end <= IMAGE_END
            && segment.memory > 0;
        let content = segment.file <= segment.memory && file <= self.state.machine.bundle_size();
        let access = matches!(
            segment.access,
            Segment::READ | Segment::WRITE | Segment::EXECUTE
        );
        require(place && content && access, Reason::BadValue)
    }
}

fn mail_credit(effect: &Supervise<'_>, to: ServerId) -> u32 {
    match effect {
        Supervise::Grant(_, Grant::Mail(other, credit)) if *other == to => u32::from(*credit),
        _ => 0,
    }
}

impl<M: Machine> State<M> {
    /// Carries out one of the supervisor's own effects.
    pub(crate) fn carry_out(&mut self, effect: &Supervise<'_>) {
        match effect {
            Supervise::Create(id, role, limits, name, image) => {
                self.make_server(*id, *role, *limits, name, image)
            }
            Supervise::Grant(id, grant) => self.give(*id, *grant),
            Supervise::Route(id, route) => self.routes.add(*route, *id),
            Supervise::Segment(id, segment) => self.add_segment(*id, &segment.0),
            Supervise::Start(id, entry, config) => {
                self.machine.set_entry(*id, entry.0);
                self.begin(*id, config);
                self.post(*id, |mailbox| mailbox.first |= START);
            }
            Supervise::Destroy(id) => self.destroy(*id),
            Supervise::CreateMachine(bytes, _, reserve) => {
                let cost = frames::of_memory(bytes.0).saturating_add(frames::of_nested(bytes.0));
                self.taking(cost, |machine| machine.create_machine(bytes.0));
                self.reserve = reserve.0;
            }
            Supervise::Load(id) => self.post(*id, |mailbox| mailbox.load = true),
            Supervise::Run => {
                self.wanted = self.stopped.is_none();
                self.decide();
                self.statistics.begin(self.machine.now());
            }
            Supervise::Exit(code) => self.leave_with(*code),
            Supervise::Restart(id) => self.restart(*id),
            Supervise::Quarantine(id) => self.quarantine(*id),
            Supervise::Kill(id) if self.servers[*id].is_running() => {
                self.post(*id, |it| it.first |= KILLED)
            }
            // It is away already.
            Supervise::Kill(_) => {}
            Supervise::Succeed(id, of, entry, terms, config) => {
                self.succeed(*id, *of, entry.0, *terms, config)
            }
            Supervise::Exchange(id, of, _) => self.exchange(*id, *of),
            Supervise::Write(offset, bytes) => self.machine.bundle_write(offset.0, bytes),
        }
    }

    /// The machine is left as soon as nothing is being handled; no vCPU runs before.
    pub(crate) fn leave_with(&mut self, code: u8) {
        self.leave = Some(code);
        self.running = false;
        self.tell_faults();
    }

    /// Takes a free slot into use.
    pub fn make_server(
        &mut self,
        id: ServerId,
        role: RoleKind,
        limits: Limits,
        name: &str,
        image: &str,
    ) {
        let tsc_khz = self.machine.tsc_khz();
        self.servers[id].make(role, limits, name, image, tsc_khz);
        self.taking(frames::of_server(&limits), |machine| {
            machine.create_server(id, &limits)
        });
    }

    /// Has the machine do something that takes exactly so many frames, as the check has counted.
    fn taking(&mut self, cost: u64, act: impl FnOnce(&mut M)) {
        let before = self.machine.free_frames();
        act(&mut self.machine);
        let took = before.wrapping_sub(self.machine.free_frames());
        if took != cost {
            self.machine.log(format_args!(
                "{took} frames were taken where {cost} were counted: the kernel has miscounted"
            ));
        }
    }

    /// Gives a right.
    pub fn give(&mut self, id: ServerId, grant: Grant) {
        self.servers[id].grants.add(grant);
        let cost = frames::of_grant(grant, self.machine.guest_size(), self.machine.bundle_size());
        match grant {
            Grant::GuestRead => self.taking(cost, |machine| machine.show_guest(id)),
            Grant::Bundle => self.taking(cost, |machine| machine.show_bundle(id)),
            Grant::HostIrq(irq) => self.machine.unmask(irq),
            _ => {}
        }
    }

    /// Fills a segment of the first server, for which there is no supervisor to check.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fill_first(&mut self, id: ServerId, segment: &Segment) -> Result<(), &'static str> {
        let check = Check::new(self, id, TicketId(0), &[]);
        check
            .segment(segment)
            .map_err(|_| "a segment lies where none may")?;
        self.add_segment(id, segment);
        Ok(())
    }

    fn add_segment(&mut self, id: ServerId, segment: &Segment) {
        let server = &mut self.servers[id];
        server.remember_segment(segment);
        let before = core::mem::replace(&mut server.filled, frames::end_of(segment));
        self.taking(frames::of_segment(before, segment), |machine| {
            machine.fill_segment(id, segment)
        });
    }

    /// Lets the first server begin.
    pub fn start_first(&mut self, id: ServerId, entry: u64) {
        self.carry_out(&Supervise::Start(id, Fixed(entry), &[]));
    }

    /// Lets messages into a slot, the first with this configuration.
    pub(crate) fn begin(&mut self, id: ServerId, config: &[u8]) {
        self.servers[id].begin(config);
        self.new_owners.insert(id);
    }

    fn destroy(&mut self, id: ServerId) {
        self.call_off(id);
        self.forsake(id);
        // What it asked is answered to nobody, and not to who has the slot next.
        self.tickets.disown(id);
        self.routes.remove(id);
        self.servers[id].clear();
        self.machine.destroy_server(id);
        // What the supervisor was to be told of it is over.
        self.servers[ServerId::SUPERVISOR].mailbox.forget_server(id);
    }
}
