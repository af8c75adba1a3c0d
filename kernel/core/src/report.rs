//! What goes to people: faults, crashes, logs, and records for the control server.

use core::fmt;

use atoll_protocol::MAIL_BYTES;
use atoll_protocol::control::{
    Activity, ExitRecord, KINDS, MachineRecord, ServerRecord, VcpuRecord, pack,
};
use atoll_protocol::dump::Dump;
use atoll_protocol::effect::Query;
use atoll_protocol::fault::{FaultReport, Reason};
use atoll_protocol::printable::Printable;
use atoll_protocol::units::ServerId;

use crate::State;
use crate::machine::Machine;
use crate::mailbox::Kind;
use crate::server::{LOG_LINES, Server, Standing};
use crate::statistics::{Kind as ExitKind, reported};
use crate::vcpu::Stand;
use crate::vcpu::vmcb::{Control, Save};

/// Those of them that only the kernel may write: a server that talks much does not hide that it was faulted.
const LOG_KERNEL: u32 = 16;
/// Milliseconds that earn it one more.
const LOG_MS: u64 = 100;
/// Most bytes of a text of a server's own in a line.
const LOG_TEXT: usize = 512;

/// A server's own text as it stands in the log: on one line, and not longer than it may be.
pub(crate) struct Quoted<'t>(pub(crate) &'t [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, left) = self.0.split_at(self.0.len().min(LOG_TEXT));
        write!(f, "{}", Printable(kept))?;
        if left.is_empty() {
            Ok(())
        } else {
            write!(f, "... (and {} bytes more)", left.len())
        }
    }
}

impl<M: Machine> State<M> {
    /// A server broke a rule while it handled `message` (none if it was between two): that is reported, and it gets no more messages until
    /// it is restarted.
    #[cold]
    pub(crate) fn fault(&mut self, id: ServerId, reason: Reason, effect: usize, message: &[u8]) {
        let at = self.machine.now();
        let server = &mut self.servers[id];
        if !server.is_running() {
            return;
        }
        self.machine.log_digests("at the fault", &self.vcpu);
        server.standing = Standing::Faulted;
        server.fault = reason;
        let generation = server.generation;
        #[cfg(not(feature = "fault-injection"))]
        let injected = false;
        #[cfg(feature = "fault-injection")]
        let injected = self.inject.detected(&mut self.machine, id, reason);
        let (name, role) = (server.name, server.role.name());
        let name = name.text();
        self.tell(
            id,
            format_args!(
                "fault: server {id} `{name}` (role {role}, generation {generation}) broke a rule: {reason:?} (effect {effect})"
            ),
        );
        let handled = self.fell(id);
        let report = FaultReport {
            server: id,
            generation,
            reason,
            effect: effect as u8,
            at,
            handled,
            injected,
        };
        let stopped = matches!(reason, Reason::Exception { .. } | Reason::Hang);
        let registers = stopped.then(|| self.machine.registers());
        let server = &mut self.servers[id];
        server.dump = Dump::of(report, registers, message, server.history());
        if id == ServerId::SUPERVISOR {
            self.revive_supervisor(reason, handled);
        } else {
            self.post(ServerId::SUPERVISOR, |mailbox| mailbox.server_faulted(id));
        }
    }

    /// All that is known of servers that nobody will restart: nobody may be there any more to ask for their dumps.
    #[cold]
    pub(crate) fn tell_faults(&mut self) {
        for server in self
            .servers
            .0
            .iter_mut()
            .filter(|server| server.standing == Standing::Faulted)
        {
            server.dump.tell(|line| self.machine.log(line));
        }
        self.tell_suppressed();
    }

    /// The guest is gone: where it was.
    #[cold]
    pub(crate) fn report_crash(&mut self, what: &str) {
        if self.vcpu.holds_host_state() {
            self.machine.log(format_args!(
                "the guest crashed: {what}; its registers are lost"
            ));
            return;
        }
        let Save {
            rip,
            rsp,
            cr2,
            cr3,
            cr4,
            rflags,
            ..
        } = self.vcpu.vmcb.save;
        let Control {
            exit_code,
            exit_info1,
            exit_info2,
            exit_int_info,
            ..
        } = self.vcpu.vmcb.control;
        let (cr0, efer) = (self.vcpu.cr0(), self.vcpu.efer());
        self.machine.log(format_args!(
            "the guest crashed: {what}; rip {rip:#x} rsp {rsp:#x} cr0 {cr0:#x} cr2 {cr2:#x} cr3 {cr3:#x} cr4 {cr4:#x} efer {efer:#x} rflags {rflags:#x} exit {exit_code:#x} {exit_info1:#x} {exit_info2:#x} event {exit_int_info:#x}"
        ));
    }

    /// A server's own line.
    pub(crate) fn log(&mut self, from: ServerId, text: &str) {
        let name = self.servers[from].name;
        self.throttled(
            from,
            LOG_KERNEL,
            format_args!("{}: {}", name.text(), Quoted(text.as_bytes())),
        );
    }

    /// A line of the kernel's about a server.
    pub(crate) fn tell(&mut self, about: ServerId, line: fmt::Arguments<'_>) {
        self.throttled(about, 0, line);
    }

    /// All lines about a server: [`LOG_LINES`] at once, and one more for every 100 ms that pass, whoever is in its slot; the last `kept` of
    /// them are not for this one. What is left out is counted, and the next line that gets through says how much it was.
    fn throttled(&mut self, about: ServerId, kept: u32, line: fmt::Arguments<'_>) {
        let now = self.machine.now();
        let per_line = self.machine.tsc_khz().saturating_mul(LOG_MS).max(1);
        let server = &mut self.servers[about];
        let earned = now.since(server.log.since).0 / per_line;
        if earned > 0 {
            server.log.since = now;
            server.log.lines = u64::from(server.log.lines)
                .saturating_add(earned)
                .min(u64::from(LOG_LINES)) as u32;
        }
        if server.log.lines <= kept {
            server.log.suppressed = server.log.suppressed.saturating_add(1);
            return;
        }
        server.log.lines -= 1;
        match core::mem::take(&mut server.log.suppressed) {
            0 => self.machine.log(line),
            left => self.machine.log(format_args!(
                "{line} ({left} lines before this were suppressed)"
            )),
        }
    }

    /// What was left out of the log and has not been told yet.
    fn tell_suppressed(&mut self) {
        for server in self
            .servers
            .0
            .iter_mut()
            .filter(|server| server.log.suppressed > 0)
        {
            let (name, left) = (server.name, core::mem::take(&mut server.log.suppressed));
            self.machine.log(format_args!(
                "{left} last lines about `{}` were suppressed",
                name.text()
            ));
        }
    }

    /// Answers the control server's question with one record; an empty one says that there is no such thing, nor
    /// another server after it.
    pub(crate) fn query(&mut self, from: ServerId, query: Query) {
        let mut page = [0; MAIL_BYTES];
        let record = self.record(query, &mut page);
        self.result(from, Kind::Record, record);
    }

    /// Writes to the log what the control server would be told: when the machine is left, nobody is there any more who could ask.
    #[cold]
    pub fn tell_totals(&mut self) {
        let tell = |state: &mut Self, what: &str, query| {
            let mut page = [0; MAIL_BYTES];
            let record = state.record(query, &mut page);
            let told = !record.is_empty();
            if told {
                state
                    .machine
                    .log(format_args!("total: {what} {}", Hex(record)));
            }
            told
        };
        for index in (0..).take(KINDS) {
            tell(self, "exit", Query::Exit(index));
        }
        for id in ServerId::all() {
            if self.servers[id].standing != Standing::Empty {
                tell(self, "server", Query::Server(id));
                // Its last fault's, if it had one.
                let _ = (0..=u8::MAX)
                    .take_while(|part| tell(self, "dump", Query::Dump(id, *part)))
                    .count();
            }
        }
        tell(self, "machine", Query::Machine);
    }

    /// Where the guest is.
    fn vcpu_record(&self) -> VcpuRecord {
        if self.vcpu.holds_host_state() {
            return VcpuRecord::default();
        }
        let Save {
            segments: [_, cs, ..],
            rip,
            rflags,
            cpl,
            ..
        } = &self.vcpu.vmcb.save;
        VcpuRecord {
            activity: match self.vcpu.stand {
                Stand::Stopped => Activity::Stopped,
                Stand::Runnable => Activity::Running,
                Stand::Waiting => Activity::Waiting,
                Stand::Halted => Activity::Halted,
            },
            rip: *rip,
            base: cs.base,
            code: cs.attributes,
            cpl: *cpl,
            cr0: self.vcpu.cr0(),
            efer: self.vcpu.efer(),
            rflags: *rflags,
        }
    }

    fn record<'p>(&self, query: Query, page: &'p mut [u8; MAIL_BYTES]) -> &'p [u8] {
        let used = match query {
            Query::Exit(index) => self.statistics.kind(usize::from(index)).and_then(|time| {
                let name = ExitKind::name(usize::from(index));
                pack(&ExitRecord { index, name, time }, page)
            }),
            Query::Server(id) => {
                let mut from = self.servers.iter().skip(id.index());
                from.find(|(_, server)| server.standing != Standing::Empty)
                    .and_then(|(id, server)| {
                        let (name, image, time) = (
                            server.name.text(),
                            server.image.text(),
                            reported(&server.time),
                        );
                        let &Server {
                            role,
                            standing: state,
                            generation,
                            restarts,
                            ..
                        } = server;
                        pack(
                            &ServerRecord {
                                id: id.number(),
                                name,
                                image,
                                role,
                                state,
                                generation,
                                restarts,
                                time,
                            },
                            page,
                        )
                    })
            }
            Query::Dump(id, index) => {
                let part = self.servers[id].dump.part(index);
                part.and_then(|part| pack(&part, page))
            }
            Query::Machine => {
                let record = MachineRecord {
                    tsc_khz: self.machine.tsc_khz(),
                    elapsed: self.statistics.elapsed(),
                    exits: self.statistics.exits,
                    running: self.running,
                    free_frames: self.machine.free_frames(),
                    stray_ports: self.stray_ports,
                    stray_memory: self.stray_memory,
                    strays: self.strays.most(),
                    vcpu: self.vcpu_record(),
                };
                pack(&record, page)
            }
        };
        page.get(..used.unwrap_or(0)).unwrap_or(&[])
    }
}

/// Bytes as digits.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
