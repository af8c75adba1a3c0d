//! A server as the kernel knows it: rights, limits, mailbox, and what it did last.

use atoll_protocol::control::Moments;
pub use atoll_protocol::control::State as Standing;
use atoll_protocol::dump::{Dump, HISTORY, Past};
use atoll_protocol::effect::Segment;
use atoll_protocol::fault::Reason;
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::name::Name;
use atoll_protocol::role::RoleKind;
use atoll_protocol::units::{HostIrq, LineId, ServerId, Ticks};

use crate::ids::{PerServer, Set};
use crate::mailbox::Mailbox;
use crate::statistics::NO_MOMENTS;
use atoll_protocol::cause::{Cause, What};

/// Lines that may be written about one server at once: its own, and the kernel's of its faults and panics.
pub(crate) const LOG_LINES: u32 = 64;
const PORT_RANGES: usize = 4;
/// Microseconds after which an activation is a long one: no server of Atoll's takes as many as a rule.
const LONG_US: u32 = 1_000;
/// Most segments of an image.
pub(crate) const SEGMENTS: usize = 8;

/// A server's rights.
#[derive(Clone, Copy, Debug)]
pub struct Grants {
    host_ports: [(u16, u16); PORT_RANGES],
    port_ranges: usize,
    /// Host interrupts.
    pub(crate) host_irqs: Set<HostIrq>,
    /// Lines of the machine.
    pub(crate) lines: Set<LineId>,
    /// Mail credit, by receiver.
    pub(crate) mail: PerServer<u8>,
    /// Guest memory mapped read-only.
    pub(crate) guest_read: bool,
    /// `GuestWrite`, `GuestCas`.
    pub(crate) guest_write: bool,
    /// The bundle.
    pub(crate) bundle: bool,
}

impl Grants {
    const NONE: Grants = Grants {
        host_ports: [(1, 0); PORT_RANGES],
        port_ranges: 0,
        host_irqs: Set::EMPTY,
        lines: Set::EMPTY,
        mail: PerServer([0; ServerId::COUNT]),
        guest_read: false,
        guest_write: false,
        bundle: false,
    };

    /// Whether `size` bytes at `port` are granted.
    pub(crate) fn has_port(&self, port: u16, size: u8) -> bool {
        let last = u32::from(port) + u32::from(size.max(1)) - 1;
        self.host_ports
            .iter()
            .any(|(first, end)| *first <= port && last <= u32::from(*end))
    }

    /// Whether there is room for one more grant of this kind.
    fn has_room(&self, grant: Grant, ports: usize) -> bool {
        match grant {
            Grant::HostPorts(first, last) => {
                first <= last && self.port_ranges + ports < PORT_RANGES
            }
            Grant::GuestRead => !self.guest_read,
            Grant::Bundle => !self.bundle,
            Grant::GuestWrite | Grant::HostIrq(_) | Grant::Line(_) | Grant::Mail(..) => true,
        }
    }

    pub(crate) fn add(&mut self, grant: Grant) {
        match grant {
            Grant::HostPorts(first, last) => {
                if let Some(range) = self.host_ports.get_mut(self.port_ranges) {
                    *range = (first, last);
                    self.port_ranges += 1;
                }
            }
            Grant::HostIrq(irq) => self.host_irqs.insert(irq),
            Grant::Line(line) => self.lines.insert(line),
            Grant::Mail(to, credit) => self.mail[to] = credit,
            Grant::GuestRead => self.guest_read = true,
            Grant::GuestWrite => self.guest_write = true,
            Grant::Bundle => self.bundle = true,
        }
    }
}

/// What may still be written to the log about the server in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogAllowance {
    /// Lines left.
    pub(crate) lines: u32,
    /// When the last one was earned.
    pub(crate) since: Ticks,
    /// Lines that were left out.
    pub(crate) suppressed: u32,
}

/// A server.
pub struct Server {
    /// Where it stands.
    pub standing: Standing,
    /// Its role.
    pub role: RoleKind,
    /// How often its slot was started.
    pub generation: u32,
    /// How often it was restarted after a fault, whichever image was in its place.
    pub restarts: u32,
    /// Its limits.
    pub limits: Limits,
    /// Longest activation.
    pub(crate) budget: Ticks,
    /// An activation longer than this is a long one.
    pub(crate) long: Ticks,
    /// Run time per period.
    pub(crate) allowance: Ticks,
    pub(crate) period_end: Ticks,
    /// What its time's sum may reach in this period.
    pub(crate) run_until: u64,
    pub(crate) grants: Grants,
    pub(crate) mailbox: Mailbox,
    /// Undelivered mail that it sent, by receiver.
    pub(crate) outstanding: PerServer<u8>,
    /// Results that it waits for.
    pub results: u8,
    /// Where its image ends so far.
    pub(crate) filled: u64,
    pub(crate) time: Moments,
    pub(crate) log: LogAllowance,
    /// Its name.
    pub name: Name,
    /// That of what is in its memory.
    pub image: Name,
    history: [Past; HISTORY],
    history_at: u8,
    /// What is kept of its last fault.
    pub(crate) dump: Dump,
    /// What it was made of, to make it again.
    pub(crate) segments: [Segment; SEGMENTS],
    pub(crate) segment_count: usize,
    /// The rule that it broke last.
    pub(crate) fault: Reason,
    /// Answers of it that committed nothing.
    pub(crate) wasted: u64,
    /// The configuration that `Start` delivers.
    pub(crate) config: [u8; 1024],
    pub(crate) config_length: usize,
}

impl Server {
    /// A free slot.
    pub const EMPTY: Server = Server {
        standing: Standing::Empty,
        role: RoleKind::Supervisor,
        generation: 0,
        restarts: 0,
        limits: Limits {
            vault_lines: 0,
            stack_pages: 0,
            budget_us: 0,
            period_us: 0,
            timers: 0,
        },
        budget: Ticks(0),
        long: Ticks(0),
        allowance: Ticks(0),
        period_end: Ticks(0),
        run_until: 0,
        grants: Grants::NONE,
        mailbox: Mailbox::EMPTY,
        outstanding: PerServer([0; ServerId::COUNT]),
        results: 0,
        time: NO_MOMENTS,
        filled: 0,
        log: LogAllowance {
            lines: LOG_LINES,
            since: Ticks(0),
            suppressed: 0,
        },
        name: Name::NONE,
        image: Name::NONE,
        history: [Past::NONE; HISTORY],
        history_at: 0,
        dump: Dump::NONE,
        segments: [Segment {
            address: 0,
            offset: 0,
            file: 0,
            memory: 0,
            access: 0,
        }; SEGMENTS],
        segment_count: 0,
        fault: Reason::Killed,
        wasted: 0,
        config: [0; 1024],
        config_length: 0,
    };

    /// Takes a free slot into use. Nothing of who had it before is left, but for what others count by it: how often it was started,
    /// its mail that is still on the way to them, and what may be logged about it.
    pub(crate) fn make(
        &mut self,
        role: RoleKind,
        limits: Limits,
        name: &str,
        image: &str,
        tsc_khz: u64,
    ) {
        let ticks = |us: u32| Ticks((u64::from(us) * tsc_khz).div_ceil(1000));
        let Server {
            generation,
            outstanding,
            log,
            ..
        } = *self;
        *self = Server::EMPTY;
        (self.generation, self.outstanding, self.log) = (generation, outstanding, log);
        self.standing = Standing::Made;
        self.role = role;
        self.limits = limits;
        self.budget = ticks(limits.budget_us);
        self.long = ticks(limits.budget_us.min(LONG_US));
        self.allowance = ticks(limits.period_us);
        (self.name, self.image) = (Name::of(name), Name::of(image));
    }

    /// Most bytes of a configuration.
    pub const CONFIG: usize = 1024;

    /// Whether one more right of this kind fits, after `ports` more ranges of ports.
    pub(crate) fn has_room(&self, grant: Grant, ports: usize) -> bool {
        self.grants.has_room(grant, ports)
    }

    /// Remembers a segment; there is room, which was checked.
    pub(crate) fn remember_segment(&mut self, segment: &Segment) {
        if let Some(place) = self.segments.get_mut(self.segment_count) {
            *place = *segment;
            self.segment_count += 1;
        }
    }

    /// Messages that it has handled to their end.
    pub(crate) fn handled(&self) -> u64 {
        self.time.count.saturating_sub(self.wasted)
    }

    /// Lets messages in, the first with this configuration.
    pub(crate) fn begin(&mut self, config: &[u8]) {
        self.standing = Standing::Running;
        self.generation = self.generation.wrapping_add(1);
        self.configure(config);
    }

    fn configure(&mut self, config: &[u8]) {
        self.config
            .iter_mut()
            .zip(config)
            .for_each(|(to, from)| *to = *from);
        self.config_length = config.len().min(Self::CONFIG);
    }

    /// Exchanges all that goes with a memory with the server in another slot.
    pub(crate) fn take_over(&mut self, other: &mut Server) {
        core::mem::swap(&mut self.limits, &mut other.limits);
        core::mem::swap(&mut self.budget, &mut other.budget);
        core::mem::swap(&mut self.long, &mut other.long);
        core::mem::swap(&mut self.allowance, &mut other.allowance);
        core::mem::swap(&mut self.segments, &mut other.segments);
        core::mem::swap(&mut self.segment_count, &mut other.segment_count);
        core::mem::swap(&mut self.filled, &mut other.filled);
        core::mem::swap(&mut self.image, &mut other.image);
        self.configure(other.config.get(..other.config_length).unwrap_or(&[]));
        // What the other was sent is none of the new one's past.
        self.history = [Past::NONE; HISTORY];
        self.generation = self.generation.max(other.generation).wrapping_add(1);
        (self.period_end, self.run_until) = (Ticks(0), 0);
    }

    /// Frees the slot; its generation goes on counting, and mail that it has on the way still counts.
    pub(crate) fn clear(&mut self) {
        self.standing = Standing::Empty;
        self.filled = 0;
        self.grants = Grants::NONE;
        self.mailbox = Mailbox::EMPTY;
        self.results = 0;
        self.name = Name::NONE;
    }

    /// A long activation. What it took longer than its budget, and was no hang, the host did not run us: that is not the server's time.
    #[cold]
    #[inline(never)]
    pub(crate) fn forgive(&mut self, span: u64) {
        self.run_until = self
            .run_until
            .saturating_add(span.saturating_sub(self.budget.0));
    }

    /// Remembers a message for the report.
    #[inline(always)]
    pub(crate) fn remember(&mut self, at: Ticks, cause: Cause) {
        if let Some(past) = self.history.get_mut(usize::from(self.history_at) % HISTORY) {
            *past = Past { at, cause };
        }
        self.history_at = self.history_at.wrapping_add(1);
    }

    /// The last messages, oldest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = &Past> + '_ {
        let start = usize::from(self.history_at) % HISTORY;
        let (new, old) = self.history.split_at(start);
        old.iter()
            .chain(new)
            .filter(|past| past.cause.0 != What::Nothing)
    }

    /// Whether messages may be delivered to it.
    #[inline(always)]
    pub fn is_running(&self) -> bool {
        self.standing == Standing::Running
    }
}

/// Mail that may be outstanding to one receiver, over all senders: what each may have, or has, if that is more (it was destroyed).
pub(crate) fn credit_for(servers: &PerServer<Server>, receiver: ServerId) -> u32 {
    let credit = |server: &Server| {
        server
            .credit_to(receiver)
            .max(server.undelivered_to(receiver))
    };
    servers
        .iter()
        .map(|(_, server)| u32::from(credit(server)))
        .sum()
}
