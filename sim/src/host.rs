//! The hardware below the kernel, simulated: memory, two serial ports, frames, and servers in this process.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use atoll_core::inject::{Act, Area};
use atoll_core::machine::{Machine, Outcome, Pages, Place};
use atoll_protocol::control::REGISTERS;
use atoll_protocol::effect::{GuestCas, Mapping, Segment};
use atoll_protocol::fault::Reason;
use atoll_protocol::grant::Limits;
use atoll_protocol::inject::Plan;
use atoll_protocol::message::Leaf;
use atoll_protocol::units::{Gpa, HostIrq, ServerId, Ticks};
use atoll_protocol::{LINE, PAGE, SERVERS};
use atoll_sdk::GuestMemory;
use atoll_sdk::effects::Surroundings;
use zerocopy::IntoBytes;

use crate::cast::{Cast, MEMORY};
use crate::island::Island;
use crate::tally::Tally;

/// Ticks per millisecond.
pub const TSC_KHZ: u64 = 1_000_000;
/// Frames of the machine.
const FRAMES: u64 = 1 << 16;
/// Lines of the log that are kept.
const LOG_LINES: usize = 40;
/// Frames that a mapping can take for tables.
const TABLES: u64 = 3;

/// The pages of the conversation.
pub struct Conversation {
    messages: Vec<[u8; PAGE]>,
    answers: Vec<[u8; PAGE]>,
}

impl Default for Conversation {
    fn default() -> Self {
        Self { messages: vec![[0; PAGE]; SERVERS], answers: vec![[0; PAGE]; SERVERS] }
    }
}

impl Pages for Conversation {
    fn message(&mut self, server: ServerId) -> &mut [u8] {
        &mut self.messages[usize::from(server.0)]
    }

    fn answer(&self, server: ServerId, length: usize) -> &[u8] {
        &self.answers[usize::from(server.0)][..length.min(PAGE)]
    }

    fn answer_mut(&mut self, server: ServerId) -> &mut [u8] {
        &mut self.answers[usize::from(server.0)]
    }
}

/// A vault: the copy that the server works on, and the committed one. In words, as the server's state needs its alignment.
#[derive(Clone, Default)]
struct Vault {
    working: Vec<u64>,
    committed: Vec<u64>,
}

/// A 16550, as far as a driver's mistakes would show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uart {
    divisor_latch: bool,
    /// Bytes on their way in.
    pub input: VecDeque<u8>,
    /// Bytes that went out.
    pub output: Vec<u8>,
}

/// The machine.
pub struct Host {
    islands: Vec<Option<Box<dyn Island>>>,
    cast: Cast,
    /// The time, in ticks.
    pub clock: u64,
    memory: Vec<u8>,
    vaults: Vec<Vault>,
    /// COM1 and COM2.
    pub ports: [Uart; 2],
    /// Guest memory that was written: address and bytes.
    pub written: Vec<(u64, Vec<u8>)>,
    /// What is mapped for the guest.
    pub mapped: BTreeMap<u64, (u64, u64)>,
    /// Frames that are free.
    pub frames: u64,
    reads_guest: Vec<bool>,
    /// When the timer will fire.
    pub armed: Ticks,
    /// The faults to inject.
    pub plan: Plan,
    /// Whether the next activation is under a fault, and which effects were.
    under: bool,
    /// Faults by effect.
    pub tally: Tally,
    /// The log's last lines: a server that fails again and again would fill any memory with it.
    pub log: VecDeque<String>,
    /// Servers that were faulted since this was last cleared.
    pub faults: u32,
}

impl Host {
    /// A machine with these servers.
    #[must_use]
    pub fn new(cast: Cast, mut islands: Vec<Option<Box<dyn Island>>>) -> Self {
        islands.resize_with(SERVERS, || None);
        Self {
            islands,
            cast,
            clock: 1_000_000,
            memory: Vec::new(),
            vaults: vec![Vault::default(); SERVERS],
            ports: Default::default(),
            written: Vec::new(),
            mapped: BTreeMap::new(),
            frames: FRAMES,
            reads_guest: vec![false; SERVERS],
            armed: Ticks(u64::MAX),
            plan: Plan::NONE,
            under: false,
            tally: Tally::default(),
            log: VecDeque::new(),
            faults: 0,
        }
    }

    /// Whether the guest runs.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.cast.is_done()
    }

    /// Writes guest memory as the guest itself does.
    pub fn poke(&mut self, gpa: u64, bytes: &[u8]) {
        self.memory[gpa as usize..gpa as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn take_frames(&mut self, count: u64) {
        self.frames = self.frames.checked_sub(count).expect("frames ran out after the check had counted them");
    }

    fn run(&mut self, server: usize, message: &[u8], answer: &mut [u8]) -> u64 {
        let around = if self.reads_guest[server] {
            Surroundings { guest: GuestMemory::slice(&self.memory), bundle: &[] }
        } else {
            Surroundings::NONE
        };
        match &mut self.islands[server] {
            Some(island) => island.activate(message, answer, self.vaults[server].working.as_mut_bytes(), around),
            None => self.cast.answer(ServerId(server as u8), message, answer),
        }
    }

    /// Which effects the server would have answered with: for faults that keep it from answering.
    fn rehearse(&mut self, server: usize, message: &[u8]) {
        let Some(mut twin) = self.islands[server].as_ref().map(|island| island.twin()) else { return };
        let mut answer = [0; PAGE];
        let mut vault = self.vaults[server].working.clone();
        let around = if self.reads_guest[server] {
            Surroundings { guest: GuestMemory::slice(&self.memory), bundle: &[] }
        } else {
            Surroundings::NONE
        };
        let used = twin.activate(message, &mut answer, vault.as_mut_bytes(), around);
        self.tally.note(answer.get(..used as usize).unwrap_or(&[]));
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

impl Machine for Host {
    type Pages = Conversation;

    fn now(&self) -> Ticks {
        Ticks(self.clock)
    }

    fn tsc_khz(&self) -> u64 {
        TSC_KHZ
    }

    fn activate(&mut self, pages: &mut Conversation, server: ServerId, length: usize, _: Ticks) -> Outcome {
        let place = usize::from(server.0);
        let mut answer = std::mem::replace(&mut pages.answers[place], [0; PAGE]);
        let used = self.run(place, &pages.messages[place][..length], &mut answer);
        if std::mem::take(&mut self.under) {
            self.tally.note(answer.get(..used as usize).unwrap_or(&[]));
        }
        pages.answers[place] = answer;
        Outcome::Answer(used)
    }

    fn commit_vault(&mut self, server: ServerId, first: u16, count: u16) {
        let lines = usize::from(first) * LINE / 8..(usize::from(first) + usize::from(count)) * LINE / 8;
        let Vault { working, committed } = &mut self.vaults[usize::from(server.0)];
        committed[lines.clone()].copy_from_slice(&working[lines]);
    }

    fn arm(&mut self, deadline: Ticks) {
        self.armed = deadline;
    }

    fn has_events(&self) -> bool {
        false
    }

    fn set_xcr0(&mut self, value: u64) {
        assert!(value & 1 != 0 && value & !7 == 0, "XSETBV with {value:#x} is a general protection fault");
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        if leaf == 0xd { Leaf { eax: 7, ..Leaf::default() } } else { Leaf { eax: leaf, ebx: subleaf, ecx: 3, edx: 4 } }
    }

    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        match self.uart(port) {
            Some((uart, 0)) if !uart.divisor_latch => uart.input.pop_front().map_or(0, u32::from),
            Some((uart, 5)) => 0x60 | u32::from(!uart.input.is_empty()),
            Some(_) => 0,
            None => u32::MAX,
        }
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) {
        assert!(matches!(size, 1 | 2 | 4), "no port has {size} bytes");
        match self.uart(port) {
            Some((uart, 0)) if !uart.divisor_latch => uart.output.push(value as u8),
            Some((uart, 2)) if value & 2 != 0 => uart.input.clear(),
            Some((uart, 3)) => uart.divisor_latch = value & 0x80 != 0,
            _ => {}
        }
    }

    fn unmask(&mut self, _: HostIrq) {}

    fn guest_size(&self) -> u64 {
        self.memory.len() as u64
    }

    fn guest_read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        let Some(place) = self.place(gpa, into.len()) else { return false };
        into.copy_from_slice(&self.memory[place]);
        true
    }

    fn guest_place(&self, gpa: Gpa) -> Option<Place> {
        self.place(gpa, 8).map(|_| Place(gpa.0))
    }

    fn guest_peek(&self, place: Place) -> u64 {
        let at = place.0 as usize;
        self.memory[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    fn guest_write(&mut self, gpa: Gpa, bytes: &[u8]) {
        self.poke(gpa.0, bytes);
        self.written.push((gpa.0, bytes.to_vec()));
    }

    fn guest_copy(&mut self, _: Gpa, _: u64, _: u64) {}

    fn guest_holds(&self, gpa: Gpa, value: u64, size: u64) -> bool {
        let mut bytes = [0; 8];
        self.guest_read(gpa, &mut bytes[..size as usize]) && bytes[..size as usize] == value.to_le_bytes()[..size as usize]
    }

    fn guest_swap(&mut self, cas: GuestCas) {
        self.guest_write(cas.gpa, &cas.new.to_le_bytes()[..cas.size as usize]);
    }

    fn can_map(&self, count: usize) -> bool {
        self.frames >= TABLES * count as u64
    }

    fn map(&mut self, mapping: Mapping) {
        assert!(mapping.gpa.0 + mapping.size <= MEMORY, "a mapping outside guest memory");
        self.mapped.insert(mapping.gpa.0, (mapping.size, mapping.access));
    }

    fn unmap(&mut self, mapping: Mapping) {
        self.mapped.remove(&mapping.gpa.0);
    }

    fn bundle_size(&self) -> u64 {
        0x4000
    }

    fn bundle_write(&mut self, _: u64, _: &[u8]) {}

    fn free_frames(&self) -> u64 {
        self.frames
    }

    fn can_hold(&self, bytes: u64) -> bool {
        bytes / PAGE as u64 <= self.frames
    }

    fn create_machine(&mut self, bytes: u64) {
        self.take_frames(bytes / PAGE as u64);
        self.memory = vec![0; bytes as usize];
    }

    fn create_server(&mut self, server: ServerId, limits: &Limits) {
        let words = usize::from(limits.vault_lines) * LINE / 8;
        self.take_frames(u64::from(limits.stack_pages) + 2 * (words * 8).div_ceil(PAGE) as u64);
        self.vaults[usize::from(server.0)] = Vault { working: vec![0; words], committed: vec![0; words] };
    }

    fn fill_segment(&mut self, _: ServerId, segment: &Segment) {
        self.take_frames(segment.memory.div_ceil(PAGE as u64));
    }

    fn refill_segment(&mut self, server: ServerId, _: &Segment) {
        if let Some(island) = &mut self.islands[usize::from(server.0)] {
            island.begin_anew();
        }
    }

    fn restore_vault(&mut self, server: ServerId) {
        let Vault { working, committed } = &mut self.vaults[usize::from(server.0)];
        working.copy_from_slice(committed);
    }

    fn exchange(&mut self, one: ServerId, other: ServerId) {
        let (one, other) = (usize::from(one.0), usize::from(other.0));
        self.islands.swap(one, other);
        self.vaults.swap(one, other);
        self.reads_guest.swap(one, other);
    }

    fn show_guest(&mut self, server: ServerId) {
        self.reads_guest[usize::from(server.0)] = true;
    }

    fn show_bundle(&mut self, _: ServerId) {}

    fn set_entry(&mut self, _: ServerId, _: u64) {}

    fn destroy_server(&mut self, server: ServerId) {
        self.vaults[usize::from(server.0)] = Vault::default();
    }

    fn wall_seconds(&self) -> u64 {
        1_700_000_000
    }

    fn physical_bits(&self) -> u32 {
        40
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        let text = line.to_string();
        self.under |= text.starts_with("inject: injected");
        self.faults += u32::from(text.starts_with("inject: detected"));
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(text);
    }

    fn registers(&self) -> [u64; REGISTERS] {
        [0; REGISTERS]
    }

    fn plan(&self, known: u64) -> Option<Plan> {
        (self.plan.sequence != known).then_some(self.plan)
    }

    fn sabotage(&mut self, pages: &mut Conversation, server: ServerId, length: usize, deadline: Ticks, act: Act) -> Outcome {
        if std::mem::take(&mut self.under) {
            let place = usize::from(server.0);
            self.rehearse(place, &pages.messages[place][..length]);
        }
        match act {
            Act::Crash => Outcome::Fault(Reason::Exception { vector: 6, error: 0, address: 0 }),
            Act::Write(_) => Outcome::Fault(Reason::Exception { vector: 14, error: 7, address: 0 }),
            Act::Hang => Outcome::Fault(Reason::Hang),
            Act::Delay(_) => self.activate(pages, server, length, deadline),
        }
    }

    fn flip(&mut self, server: ServerId, area: Area, bit: u64) -> bool {
        let Vault { working, committed } = &mut self.vaults[usize::from(server.0)];
        let Some(bit) = bit.checked_rem(working.len() as u64 * 64).filter(|_| area == Area::Vault) else { return false };
        for copy in [working, committed] {
            copy[(bit / 64) as usize] ^= 1 << (bit % 64);
        }
        true
    }
}
