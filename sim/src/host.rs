//! The hardware below the kernel, simulated: memory, two serial ports, frames, and servers in this process.

mod experiment;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use atoll_core::machine::{
    AddressSpaces, Clock, GuestRam, HostPorts, Log, Outcome, Place, Processor, Stale, Stock,
    Translations,
};
use atoll_protocol::control::REGISTERS;
use atoll_protocol::effect::{GuestCas, Mapping, Segment};
use atoll_protocol::fault::Reason;
use atoll_protocol::frames::{of_grant, of_image, of_memory, of_nested, of_server};
use atoll_protocol::grant::{Grant, Limits};
use atoll_protocol::inject::{Model, Plan, kind_of};
use atoll_protocol::layout::ram_offset;
use atoll_protocol::message::{Header, Leaf};
use atoll_protocol::units::{Gpa, HostIrq, ServerId, Ticks};
use atoll_protocol::{LINE, PAGE, SERVERS};
use atoll_sdk::GuestMemory;
use atoll_sdk::effects::Surroundings;
use zerocopy::{FromBytes, IntoBytes};

use crate::bundle;
use crate::cast::{self, Cast};
use crate::conversation::Conversation;
use crate::frames::Frames;
use crate::hostile::HANGS;
use crate::island::Island;
use crate::ledger::Ledger;
use crate::packed::Packed;
use crate::serial::Uart;
use crate::supervisor::{self, Desk, Memory, SUPERVISOR};
use crate::tally::Tally;

/// Ticks per millisecond.
pub const TSC_KHZ: u64 = 1_000_000;
/// Lines of the log that are kept: a server that fails again and again would fill any memory with it.
const LOG_LINES: usize = 40;

/// A vault: the copy that the server works on, and the committed one. In words, as the server's state needs its alignment.
#[derive(Clone, Default)]
struct Vault {
    working: Vec<u64>,
    committed: Vec<u64>,
}

/// The machine.
pub struct Host {
    islands: Vec<Option<Box<dyn Island>>>,
    cast: Arc<Cast>,
    /// What the real supervisor reads; without it a script is followed.
    pub packed: Option<Packed>,
    /// The segments of each server, whose frames were taken.
    filled: Vec<Vec<Segment>>,
    /// What lies on the supervisor's desk.
    pub desk: Desk,
    /// The time, in ticks.
    pub clock: u64,
    memory: Vec<u8>,
    /// Pages of it that were written.
    touched: BTreeSet<usize>,
    vaults: Vec<Vault>,
    /// COM1 and COM2.
    pub ports: [Uart; 2],
    /// Guest memory that was written: address and bytes.
    pub written: Vec<(u64, Vec<u8>)>,
    /// What is mapped for the guest.
    pub mapped: BTreeMap<u64, (u64, u64)>,
    /// Who has which frames.
    pub frames: Frames,
    reads_guest: Vec<bool>,
    /// What each server was told last: the kind of message, and whether it said which vector was accepted.
    told: [(u8, bool); SERVERS],
    /// When the timer will fire.
    pub armed: Ticks,
    /// The faults to inject.
    pub plan: Plan,
    /// Faults by effect.
    pub tally: Tally,
    /// What was committed.
    pub ledger: Ledger,
    /// The log's last lines.
    pub log: VecDeque<String>,
    /// Faults of servers that the kernel has found, since this was last cleared.
    pub found: u32,
}

thread_local! {
    /// Guest memory of earlier machines, all zero again: most of what a machine costs is to clear it.
    static MEMORIES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        for page in &self.touched {
            memory[page * PAGE..(page + 1) * PAGE].fill(0);
        }
        if !memory.is_empty() {
            MEMORIES.with_borrow_mut(|memories| memories.push(memory));
        }
    }
}

impl Host {
    /// A machine for this cast.
    #[must_use]
    pub fn new(cast: Arc<Cast>) -> Self {
        Self {
            islands: (0..SERVERS).map(|_| None).collect(),
            cast,
            packed: None,
            filled: vec![Vec::new(); SERVERS],
            desk: Desk::default(),
            clock: 1_000_000,
            memory: Vec::new(),
            touched: BTreeSet::new(),
            vaults: vec![Vault::default(); SERVERS],
            ports: Default::default(),
            written: Vec::new(),
            mapped: BTreeMap::new(),
            frames: Frames::default(),
            reads_guest: vec![false; SERVERS],
            told: [(0, false); SERVERS],
            armed: Ticks(u64::MAX),
            plan: Plan::NONE,
            tally: Tally::default(),
            ledger: Ledger::default(),
            log: VecDeque::new(),
            found: 0,
        }
    }

    /// What the supervisor remembers.
    #[must_use]
    pub fn supervisor(&self) -> Memory {
        let vault = self.vaults[SUPERVISOR.index()].committed.as_bytes();
        Memory::read_from_prefix(vault).map_or(Memory::default(), |(memory, _)| memory)
    }

    /// Whether the guest runs.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.supervisor().is_built(&self.cast)
    }

    /// Whether there is nothing left to be swapped.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.supervisor().is_at_rest(&self.desk)
    }

    /// Takes swaps from the desk that have not come to their end.
    pub fn withdraw(&mut self) {
        let done = self.supervisor().swapped() as usize;
        self.desk.swaps.truncate(done);
    }

    /// Writes guest memory as the guest itself does.
    pub fn poke(&mut self, gpa: u64, bytes: &[u8]) {
        self.touched.insert(gpa as usize / PAGE);
        self.touched
            .insert((gpa as usize + bytes.len().max(1) - 1) / PAGE);
        self.memory[gpa as usize..gpa as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Whether the guest's memory is the same on another machine.
    #[must_use]
    pub fn remembers_the_same_as(&self, other: &Host) -> bool {
        let page = |page: &usize| page * PAGE..(page + 1) * PAGE;
        let mut touched = self.touched.union(&other.touched).map(page);
        self.memory.len() == other.memory.len()
            && touched.all(|page| self.memory[page.clone()] == other.memory[page])
    }

    fn run(&mut self, server: usize, message: &[u8], answer: &mut [u8]) -> u64 {
        let Self {
            islands,
            vaults,
            cast,
            desk,
            memory,
            reads_guest,
            packed,
            ..
        } = self;
        let vault = vaults[server].working.as_mut_bytes();
        let bundle = packed
            .as_ref()
            .filter(|_| server == SUPERVISOR.index())
            .map_or(&[][..], Packed::bytes);
        activate(
            islands[server].as_deref_mut(),
            (cast, desk),
            server,
            message,
            answer,
            vault,
            Surroundings {
                bundle,
                ..around(reads_guest[server], memory)
            },
        )
    }

    /// Which effects the server would answer with.
    fn rehearse(&mut self, server: usize, message: &[u8], model: Model) {
        let Self {
            islands,
            vaults,
            cast,
            desk,
            memory,
            reads_guest,
            tally,
            ..
        } = self;
        let mut twin = islands[server].as_ref().map(|island| island.twin());
        let mut vault = vaults[server].working.clone();
        let mut answer = [0; PAGE];
        let around = around(reads_guest[server], memory);
        let twin = twin.as_deref_mut();
        let used = activate(
            twin,
            (cast, desk),
            server,
            message,
            &mut answer,
            vault.as_mut_bytes(),
            around,
        );
        tally.note(model, answer.get(..used as usize).unwrap_or(&[]));
    }

    fn place(&self, gpa: Gpa, length: usize) -> Option<std::ops::Range<usize>> {
        let end = gpa.0.checked_add(length as u64)?;
        (end <= self.memory.len() as u64).then_some(gpa.0 as usize..end as usize)
    }

    fn uart(&mut self, port: u16) -> Option<(&mut Uart, u16)> {
        match port {
            0x3f8..=0x3ff => Some((&mut self.ports[0], port - 0x3f8)),
            0x2f8..=0x2ff => Some((&mut self.ports[1], port - 0x2f8)),
            _ => None,
        }
    }
}

fn around(reads_guest: bool, memory: &[u8]) -> Surroundings<'_> {
    if reads_guest {
        Surroundings {
            guest: GuestMemory::slice(memory),
            bundle: &[],
        }
    } else {
        Surroundings::NONE
    }
}

fn activate(
    island: Option<&mut (dyn Island + 'static)>,
    (cast, desk): (&Cast, &Desk),
    server: usize,
    message: &[u8],
    answer: &mut [u8],
    vault: &mut [u8],
    around: Surroundings<'_>,
) -> u64 {
    match island {
        Some(island) => island.activate(message, answer, vault, around),
        None if server == SUPERVISOR.index() => {
            supervisor::answer(cast, desk, message, answer, vault)
        }
        None => cast::load(message, answer),
    }
}

impl Clock for Host {
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
        self.armed.0 <= self.clock
    }

    fn counts_instructions(&self) -> bool {
        true
    }

    fn wall_seconds(&self) -> u64 {
        1_700_000_000
    }
}

impl Processor for Host {
    fn set_xcr0(&mut self, value: u64) {
        assert!(
            value & 1 != 0 && value & !7 == 0,
            "XSETBV with {value:#x} is a general protection fault"
        );
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        if leaf == 0xd {
            Leaf {
                eax: 7,
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
        [0; REGISTERS]
    }
}

impl HostPorts for Host {
    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        self.uart(port)
            .map_or(u32::MAX, |(uart, register)| uart.read(register))
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        if let Some((uart, register)) = self.uart(port) {
            uart.write(register, value);
        }
    }

    fn unmask(&mut self, _: HostIrq) {}
}

impl GuestRam for Host {
    fn guest_size(&self) -> u64 {
        self.memory.len() as u64
    }

    fn guest_read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        let Some(place) = self.place(gpa, into.len()) else {
            return false;
        };
        into.copy_from_slice(&self.memory[place]);
        true
    }

    fn guest_place(&self, gpa: Gpa) -> Option<Place> {
        self.place(gpa, 8).map(|_| Place(gpa.0))
    }

    fn guest_peek(&self, place: Place) -> u64 {
        let at = place.0 as usize;
        self.memory[at..at + 8]
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    fn guest_write(&mut self, gpa: Gpa, bytes: &[u8]) {
        self.poke(gpa.0, bytes);
        self.written.push((gpa.0, bytes.to_vec()));
    }

    fn guest_copy(&mut self, _: Gpa, _: u64, _: u64) {}

    fn guest_holds(&self, gpa: Gpa, value: u64, size: u64) -> bool {
        let mut bytes = [0; 8];
        self.guest_read(gpa, &mut bytes[..size as usize])
            && bytes[..size as usize] == value.to_le_bytes()[..size as usize]
    }

    fn guest_swap(&mut self, cas: GuestCas) {
        self.guest_write(cas.gpa, &cas.new.to_le_bytes()[..cas.size as usize]);
    }

    fn can_hold(&self, bytes: u64) -> bool {
        bytes / PAGE as u64 <= self.frames.free()
    }

    fn create_machine(&mut self, bytes: u64) {
        self.frames.take(of_memory(bytes) + of_nested(bytes));
        let used = MEMORIES.with_borrow_mut(|memories| {
            let place = memories
                .iter()
                .position(|memory| memory.len() as u64 == bytes)?;
            Some(memories.swap_remove(place))
        });
        self.memory = used.unwrap_or_else(|| vec![0; bytes as usize]);
    }
}

impl Translations for Host {
    fn map(&mut self, mapping: Mapping) -> Stale {
        assert!(
            ram_offset(self.memory.len() as u64, mapping.gpa.0).is_some(),
            "a mapping outside guest memory"
        );
        Stale(
            self.mapped
                .insert(mapping.gpa.0, (mapping.size, mapping.access))
                .is_some(),
        )
    }

    fn unmap(&mut self, mapping: Mapping) -> Stale {
        Stale(self.mapped.remove(&mapping.gpa.0).is_some())
    }

    fn stand_in(&mut self, page: Gpa, _: Gpa) -> Stale {
        Stale(self.mapped.insert(page.0, (PAGE as u64, 2)).is_some())
    }

    fn stand_down(&mut self, page: Gpa) -> Stale {
        Stale(self.mapped.remove(&page.0).is_some())
    }

    fn unmap_all(&mut self) -> Stale {
        self.mapped.clear();
        Stale(true)
    }

    fn flushed(&mut self) {}
}

impl Stock for Host {
    fn bundle_size(&self) -> u64 {
        self.packed
            .as_ref()
            .map_or(bundle::SIZE, |packed| packed.bytes().len() as u64)
    }

    fn bundle_write(&mut self, offset: u64, bytes: &[u8]) {
        if let Some(packed) = &mut self.packed {
            packed.write(offset, bytes);
        }
    }

    fn free_frames(&self) -> u64 {
        self.frames.free()
    }
}

impl AddressSpaces for Host {
    type Pages = Conversation;

    fn activate(
        &mut self,
        pages: &mut Conversation,
        server: ServerId,
        length: usize,
        _: Ticks,
    ) -> Outcome {
        let place = server.index();
        let mut answer = std::mem::replace(&mut pages.answers[place], [0; PAGE]);
        let message = &pages.messages[place][..length];
        let header = message
            .get(1..)
            .and_then(|bytes| Header::read_from_prefix(bytes).ok());
        let accepted = header.is_some_and(|(header, _)| header.accepted != Header::NOT_ACCEPTED);
        self.told[place] = (kind_of(message).unwrap_or_default(), accepted);
        let used = self.run(place, message, &mut answer);
        pages.answers[place] = answer;
        if used == HANGS {
            return Outcome::Fault(Reason::Hang);
        }
        Outcome::Answer(used)
    }

    fn commit_vault(&mut self, server: ServerId, first: u16, count: u16) {
        let lines =
            usize::from(first) * LINE / 8..(usize::from(first) + usize::from(count)) * LINE / 8;
        let Vault { working, committed } = &mut self.vaults[server.index()];
        committed[lines.clone()].copy_from_slice(&working[lines]);
    }

    fn create_server(&mut self, server: ServerId, limits: &Limits) {
        let words = usize::from(limits.vault_lines) * LINE / 8;
        self.frames.take_for(server, of_server(limits));
        self.vaults[server.index()] = Vault {
            working: vec![0; words],
            committed: vec![0; words],
        };
    }

    fn fill_segment(&mut self, server: ServerId, segment: &Segment) {
        let filled = &mut self.filled[server.index()];
        let before = of_image(filled.iter());
        filled.push(*segment);
        // The first also pays for what every image has.
        let before = if filled.len() == 1 { 0 } else { before };
        self.frames
            .take_for(server, of_image(filled.iter()) - before);
        self.refill_segment(server, segment);
    }

    fn refill_segment(&mut self, server: ServerId, segment: &Segment) {
        let island = match &mut self.packed {
            None => bundle::island(segment.offset),
            Some(packed) if segment.access == Segment::EXECUTE => packed.island(segment),
            Some(_) => return,
        };
        self.islands[server.index()] = island;
    }

    fn restore_vault(&mut self, server: ServerId) {
        let Vault { working, committed } = &mut self.vaults[server.index()];
        working.copy_from_slice(committed);
    }

    fn exchange(&mut self, one: ServerId, other: ServerId) {
        self.frames.exchange(one, other);
        let (one, other) = (one.index(), other.index());
        self.islands.swap(one, other);
        self.filled.swap(one, other);
        self.vaults.swap(one, other);
        self.reads_guest.swap(one, other);
    }

    fn show_guest(&mut self, server: ServerId) {
        self.frames.take_for(
            server,
            of_grant(Grant::GuestRead, self.memory.len() as u64, bundle::SIZE),
        );
        self.reads_guest[server.index()] = true;
    }

    fn show_bundle(&mut self, server: ServerId) {
        self.frames.take_for(
            server,
            of_grant(Grant::Bundle, self.memory.len() as u64, self.bundle_size()),
        );
    }

    fn set_entry(&mut self, _: ServerId, _: u64) {}

    fn destroy_server(&mut self, server: ServerId) {
        let place = server.index();
        (
            self.islands[place],
            self.vaults[place],
            self.reads_guest[place],
        ) = (None, Vault::default(), false);
        self.filled[place].clear();
        self.frames.give_back(server);
    }
}

impl Log for Host {
    fn log(&mut self, line: fmt::Arguments<'_>) {
        let text = line.to_string();
        self.found += u32::from(text.starts_with("inject: detected"));
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(text);
    }
}
