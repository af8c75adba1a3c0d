//! A simulated machine: guest memory in a map, servers in this process, ports that only record. Whatever the kernel does to it is
//! written into a journal, so that "nothing was committed" is "the journal has not grown".
//!
//! The kernel promises that nothing fails once the check has passed. The machine holds it to that: it panics on a range that is not
//! there, on a size that no port has, and when frames run out.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

#[cfg(feature = "fault-injection")]
use atoll_core::machine::Experiment;
use atoll_core::machine::{
    AddressSpaces, Clock, GuestRam, HostPorts, Log, Outcome, Pages, Place, Processor, Stale, Stock,
    Translations,
};
use atoll_protocol::control::REGISTERS;
use atoll_protocol::effect::{GuestCas, Mapping, Segment};
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::layout::ram_offset;
use atoll_protocol::message::Leaf;
use atoll_protocol::units::{Gpa, HostIrq, ServerId, Ticks};
use atoll_protocol::{LINE, PAGE, SERVERS, frames};

use crate::memory::Memory;
use crate::nested::Nested;

/// Ticks per millisecond: a tick is a microsecond, so that budgets read as they are written.
pub(crate) const TSC_KHZ: u64 = 1000;
/// Bytes of the bundle.
pub(crate) const BUNDLE: u64 = 0x4000;
/// What the host says to CPUID leaf 0xd: it has x87, SSE and AVX state.
pub(crate) const HOST_XCR0: u32 = 7;

/// What the servers do when they are activated.
pub(crate) trait Servers {
    /// Handles one message; the answer goes into its page. Time passes as the servers say.
    fn activate(
        &mut self,
        to: ServerId,
        message: &[u8],
        answer: &mut [u8],
        clock: &mut u64,
    ) -> Outcome;
    /// A line of the kernel's log; whether the machine is untouched since the last activation.
    fn log(&mut self, line: fmt::Arguments<'_>, untouched: bool);
}

/// Servers that whoever wrote their script looks at as well.
impl<S: Servers> Servers for Rc<RefCell<S>> {
    fn activate(
        &mut self,
        to: ServerId,
        message: &[u8],
        answer: &mut [u8],
        clock: &mut u64,
    ) -> Outcome {
        self.borrow_mut().activate(to, message, answer, clock)
    }

    fn log(&mut self, line: fmt::Arguments<'_>, untouched: bool) {
        self.borrow_mut().log(line, untouched);
    }
}

/// Something that the kernel did to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Vault(ServerId, u16, u16),
    Xcr0(u64),
    PortIn(u16, u8),
    PortOut(u16, u8, u32),
    Unmask(HostIrq),
    Write(Gpa, usize),
    Copy(Gpa, u64),
    Swap(GuestCas),
    Map(Mapping),
    Unmap(Mapping),
    UnmapAll,
    StandIn(Gpa, Gpa),
    StandDown(Gpa),
    CreateMachine(u64),
    Upload(u64, usize),
    CreateServer(ServerId),
    Fill(ServerId, Segment),
    Refill(ServerId, Segment),
    Restore(ServerId),
    Exchange(ServerId, ServerId),
    ShowGuest(ServerId),
    ShowBundle(ServerId),
    Entry(ServerId, u64),
    Destroy(ServerId),
}

/// The pages of the conversation.
pub(crate) struct Conversation {
    messages: Vec<[u8; PAGE]>,
    answers: Vec<[u8; PAGE]>,
}

impl Conversation {
    /// Pages for all servers.
    pub(crate) fn new() -> Conversation {
        Conversation {
            messages: vec![[0; PAGE]; SERVERS],
            answers: vec![[0; PAGE]; SERVERS],
        }
    }

    /// All that this server can read in its pages.
    pub(crate) fn readable(&self, server: ServerId) -> Vec<u8> {
        let place = server.index();
        [self.messages[place], self.answers[place]].concat()
    }
}

impl Pages for Conversation {
    fn message(&mut self, server: ServerId) -> &mut [u8] {
        &mut self.messages[server.index()]
    }

    fn answer(&self, server: ServerId, length: usize) -> &[u8] {
        &self.answers[server.index()][..length.min(PAGE)]
    }

    fn clear(&mut self, server: ServerId) {
        self.messages[server.index()] = [0; PAGE];
        self.answers[server.index()] = [0; PAGE];
    }
}

/// A server's vault: the copy it works on, and the committed one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vault {
    pub(crate) working: Vec<u8>,
    pub(crate) committed: Vec<u8>,
}

/// The machine. Not generic over its servers, so that the kernel is compiled once for all of them.
pub(crate) struct Simulated {
    servers: Box<dyn Servers>,
    pub(crate) clock: u64,
    pub(crate) memory: Memory,
    pub(crate) vaults: Vec<Vault>,
    pub(crate) journal: Vec<Act>,
    /// What port reads give, byte after byte; afterwards all ones.
    pub(crate) input: Vec<u8>,
    pub(crate) frames: u64,
    /// Bytes of the bundle.
    pub(crate) bundle: u64,
    /// What is mapped for the guest.
    pub(crate) nested: Nested,
    /// Frames that are set aside for tables, and free.
    pub(crate) tables: u64,
    /// What each server has of them, and where its image ends.
    held: [(u64, u64); SERVERS],
    /// When the timer will fire.
    pub(crate) armed: Ticks,
    /// A host event waits.
    pub(crate) events: bool,
    /// The host steals no time.
    pub(crate) exact: bool,
    /// The deadline of the last activation.
    pub(crate) deadline: Ticks,
    /// Set when a compare-and-swap finds another value.
    pub(crate) conflict: Rc<Cell<bool>>,
    activations: u8,
    /// How long the journal was at the last activation.
    activated: usize,
}

impl Simulated {
    /// A machine with so many frames of memory.
    pub(crate) fn new(servers: Box<dyn Servers>, frames: u64) -> Self {
        Simulated {
            servers,
            clock: 1_000_000,
            memory: Memory::default(),
            vaults: vec![Vault::default(); SERVERS],
            journal: Vec::new(),
            input: Vec::new(),
            frames,
            bundle: BUNDLE,
            nested: Nested::default(),
            tables: 0,
            held: [(0, 0); SERVERS],
            armed: Ticks(u64::MAX),
            events: false,
            exact: true,
            deadline: Ticks(0),
            conflict: Rc::default(),
            activations: 0,
            activated: 0,
        }
    }

    fn act(&mut self, act: Act) {
        self.journal.push(act);
    }

    fn take_frames(&mut self, count: u64) {
        self.frames = self
            .frames
            .checked_sub(count)
            .expect("frames ran out after the check had counted them");
    }

    fn take_for(&mut self, server: ServerId, count: u64) {
        self.take_frames(count);
        self.held[server.index()].0 += count;
    }
}

impl Clock for Simulated {
    fn now(&self) -> Ticks {
        Ticks(self.clock)
    }

    fn tsc_khz(&self) -> u64 {
        TSC_KHZ
    }

    fn arm(&mut self, deadline: Ticks) {
        self.armed = deadline;
    }

    fn has_events(&self) -> bool {
        self.events
    }

    fn counts_instructions(&self) -> bool {
        self.exact
    }

    fn wall_seconds(&self) -> u64 {
        1_700_000_000
    }
}

impl Processor for Simulated {
    fn set_xcr0(&mut self, value: u64) {
        let host = u64::from(HOST_XCR0);
        assert!(
            value & 1 != 0 && value & !host == 0 && value & 6 != 4,
            "XSETBV with {value:#x} is a general protection fault"
        );
        self.act(Act::Xcr0(value));
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        if leaf == 0xd {
            Leaf {
                eax: HOST_XCR0,
                ..Leaf::default()
            }
        } else {
            Leaf {
                eax: leaf,
                ebx: subleaf,
                ecx: 3,
                edx: 4,
            }
        }
    }

    fn physical_bits(&self) -> u32 {
        40
    }

    fn registers(&self) -> [u64; REGISTERS] {
        std::array::from_fn(|index| index as u64)
    }
}

impl HostPorts for Simulated {
    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        self.act(Act::PortIn(port, size));
        if self.input.is_empty() {
            u32::MAX
        } else {
            u32::from(self.input.remove(0))
        }
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        self.act(Act::PortOut(port, size, value));
    }

    fn unmask(&mut self, irq: HostIrq) {
        assert!(
            irq.number() < 16,
            "the host has no interrupt {}",
            irq.number()
        );
        self.act(Act::Unmask(irq));
    }
}

impl GuestRam for Simulated {
    fn guest_size(&self) -> u64 {
        self.memory.size
    }

    fn guest_read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        self.memory.read(gpa, into)
    }

    fn guest_place(&self, gpa: Gpa) -> Option<Place> {
        self.memory.read(gpa, &mut [0; 8]).then_some(Place(gpa.0))
    }

    fn guest_peek(&self, place: Place) -> u64 {
        self.memory.number(Gpa(place.0), 8)
    }

    fn guest_write(&mut self, gpa: Gpa, bytes: &[u8]) {
        self.memory.write(gpa, bytes);
        self.act(Act::Write(gpa, bytes.len()));
    }

    fn guest_copy(&mut self, gpa: Gpa, offset: u64, length: u64) {
        assert!(
            offset + length <= self.bundle,
            "a copy from behind the bundle"
        );
        let bytes: Vec<u8> = (offset..offset + length).map(|at| at as u8).collect();
        self.memory.write(gpa, &bytes);
        self.act(Act::Copy(gpa, length));
    }

    fn guest_holds(&self, gpa: Gpa, value: u64, size: u64) -> bool {
        let mask = if size == 8 {
            u64::MAX
        } else {
            (1 << (size * 8)) - 1
        };
        let holds = self.memory.number(gpa, size) == value & mask;
        if !holds {
            self.conflict.set(true);
        }
        holds
    }

    fn guest_swap(&mut self, cas: GuestCas) {
        assert!(
            cas.gpa.0.is_multiple_of(cas.size),
            "a swap that is not aligned"
        );
        self.memory
            .write(cas.gpa, &cas.new.to_le_bytes()[..cas.size as usize]);
        self.act(Act::Swap(cas));
    }

    fn can_hold(&self, bytes: u64) -> bool {
        bytes / PAGE as u64 <= self.frames
    }

    fn create_machine(&mut self, bytes: u64) {
        assert_eq!(self.memory.size, 0, "guest memory is made once");
        self.take_frames(frames::of_memory(bytes) + frames::of_nested(bytes));
        self.tables = frames::of_nested(bytes);
        self.memory.size = bytes;
        self.act(Act::CreateMachine(bytes));
    }
}

impl Translations for Simulated {
    fn map(&mut self, mapping: Mapping) -> Stale {
        let last = mapping.gpa.0 + mapping.size - 1;
        assert!(
            [mapping.gpa.0, last]
                .iter()
                .all(|at| ram_offset(self.memory.size, *at).is_some()),
            "a mapping outside guest memory"
        );
        if self.nested.needs(mapping) > self.tables {
            assert!(
                self.nested.is_waiting(),
                "tables ran out, and none is about to be flushed"
            );
            let _ = self.nested.unmap(mapping);
            return Stale(true);
        }
        let (stale, tables) = self.nested.map(mapping);
        self.tables -= tables;
        self.act(Act::Map(mapping));
        Stale(stale)
    }

    fn unmap(&mut self, mapping: Mapping) -> Stale {
        self.act(Act::Unmap(mapping));
        Stale(self.nested.unmap(mapping))
    }

    fn stand_in(&mut self, page: Gpa, memory: Gpa) -> Stale {
        assert!(
            ram_offset(self.memory.size, memory.0).is_some(),
            "what is no RAM stands in"
        );
        self.act(Act::StandIn(page, memory));
        let stale = self.nested.prune(page.0);
        let mapping = Mapping {
            gpa: page,
            size: Mapping::SMALL,
            access: Mapping::WRITE,
        };
        if self.nested.needs(mapping) <= self.tables {
            let (_, tables) = self.nested.map(mapping);
            self.tables -= tables;
        } else {
            assert!(
                self.nested.is_waiting(),
                "tables ran out, and none is about to be flushed"
            );
        }
        Stale(stale)
    }

    fn stand_down(&mut self, page: Gpa) -> Stale {
        self.act(Act::StandDown(page));
        Stale(self.nested.prune(page.0))
    }

    fn unmap_all(&mut self) -> Stale {
        self.act(Act::UnmapAll);
        self.nested.clear();
        Stale(true)
    }

    fn flushed(&mut self) {
        self.tables += self.nested.give_back();
    }
}

impl Stock for Simulated {
    fn bundle_size(&self) -> u64 {
        self.bundle
    }

    fn bundle_write(&mut self, offset: u64, bytes: &[u8]) {
        assert!(
            offset + bytes.len() as u64 <= BUNDLE,
            "a write beside the bundle"
        );
        self.act(Act::Upload(offset, bytes.len()));
    }

    fn free_frames(&self) -> u64 {
        self.frames
    }
}

impl AddressSpaces for Simulated {
    type Pages = Conversation;

    fn activate(
        &mut self,
        pages: &mut Conversation,
        server: ServerId,
        length: usize,
        deadline: Ticks,
    ) -> Outcome {
        let id = server.index();
        self.activations = self.activations.wrapping_add(1);
        self.activated = self.journal.len();
        self.deadline = deadline;
        // A server that runs leaves its traces all over its working copy; what it does not save must never show.
        self.vaults[id].working.fill(self.activations);
        self.clock += 1;
        self.servers.activate(
            server,
            &pages.messages[id][..length],
            &mut pages.answers[id],
            &mut self.clock,
        )
    }

    fn commit_vault(&mut self, server: ServerId, first: u16, count: u16) {
        let range = usize::from(first) * LINE..(usize::from(first) + usize::from(count)) * LINE;
        let Vault { working, committed } = &mut self.vaults[server.index()];
        committed[range.clone()].copy_from_slice(&working[range]);
        self.act(Act::Vault(server, first, count));
    }

    fn create_server(&mut self, server: ServerId, limits: &Limits) {
        let vault = usize::from(limits.vault_lines) * LINE;
        self.take_for(server, frames::of_server(limits));
        self.vaults[server.index()] = Vault {
            working: vec![0; vault],
            committed: vec![0; vault],
        };
        self.act(Act::CreateServer(server));
    }

    fn fill_segment(&mut self, server: ServerId, segment: &Segment) {
        assert!(
            segment.offset + segment.file <= BUNDLE && segment.file <= segment.memory,
            "a segment of bytes that are not there"
        );
        let place = server.index();
        self.take_for(server, frames::of_segment(self.held[place].1, segment));
        self.held[place].1 = frames::end_of(segment);
        self.act(Act::Fill(server, *segment));
    }

    fn refill_segment(&mut self, server: ServerId, segment: &Segment) {
        self.act(Act::Refill(server, *segment));
    }

    fn restore_vault(&mut self, server: ServerId) {
        let Vault { working, committed } = &mut self.vaults[server.index()];
        working.clone_from(committed);
        self.act(Act::Restore(server));
    }

    fn exchange(&mut self, one: ServerId, other: ServerId) {
        self.vaults.swap(one.index(), other.index());
        self.held.swap(one.index(), other.index());
        self.act(Act::Exchange(one, other));
    }

    fn show_guest(&mut self, server: ServerId) {
        self.take_for(
            server,
            frames::of_grant(Grant::GuestRead, self.memory.size, BUNDLE),
        );
        self.act(Act::ShowGuest(server));
    }

    fn show_bundle(&mut self, server: ServerId) {
        self.take_for(
            server,
            frames::of_grant(Grant::Bundle, self.memory.size, BUNDLE),
        );
        self.act(Act::ShowBundle(server));
    }

    fn set_entry(&mut self, server: ServerId, entry: u64) {
        self.act(Act::Entry(server, entry));
    }

    fn destroy_server(&mut self, server: ServerId) {
        self.vaults[server.index()] = Vault::default();
        self.frames += std::mem::take(&mut self.held[server.index()]).0;
        self.act(Act::Destroy(server));
    }
}

impl Log for Simulated {
    fn log(&mut self, line: fmt::Arguments<'_>) {
        self.servers.log(line, self.journal.len() == self.activated);
    }
}

#[cfg(feature = "fault-injection")]
impl Experiment for Simulated {}
