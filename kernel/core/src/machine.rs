//! What the portable part needs of the machine below it: implemented by the x86 kernel, and by a simulated machine in tests.

use core::fmt;

use atoll_protocol::control::REGISTERS;
use atoll_protocol::effect::{GuestCas, Mapping, Segment};
use atoll_protocol::fault::Reason;
use atoll_protocol::grant::Limits;
use atoll_protocol::message::Leaf;
use atoll_protocol::units::{Gpa, HostIrq, ServerId, Ticks};

use crate::vcpu::Vcpu;

/// A place in guest memory that was found to be RAM: opaque, and valid as long as the machine that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u64);

/// How an activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered with this length (or [`atoll_protocol::PANICKED`] and the length of a text).
    Answer(u64),
    /// It did not.
    Fault(Reason),
}

/// Whether the guest may still have a translation that is in the nested tables no more: it does not run before that is flushed.
#[must_use = "what is stale is flushed before the guest runs: see State::flush"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale(pub bool);

/// The message and answer pages of the servers. Apart from [`Machine`], so that an answer can be read while its effects are committed.
pub trait Pages {
    /// Where the next message goes.
    fn message(&mut self, server: ServerId) -> &mut [u8];
    /// The first `length` bytes of the answer page (fewer if the page is shorter).
    fn answer(&self, server: ServerId, length: usize) -> &[u8];
    /// Clears both: who reads them next is not who had them.
    fn clear(&mut self, server: ServerId);
    /// The answer page, to put a fault into it; none where no faults are injected.
    #[cfg(feature = "fault-injection")]
    fn answer_mut(&mut self, _server: ServerId) -> &mut [u8] {
        &mut []
    }
}

/// Time, and the timer.
pub trait Clock {
    /// The time-stamp counter.
    fn now(&self) -> Ticks;

    /// Its frequency in kHz.
    fn tsc_khz(&self) -> u64;

    /// Sees to it that [`HostEvent::Timer`](crate::run::HostEvent) comes at `deadline` or soon after.
    fn arm(&mut self, deadline: Ticks);

    /// Whether a host event waits to be taken notice of: the guest must not be entered then.
    fn has_events(&self) -> bool;

    /// Whether the clock counts instructions. Where it does not, it goes on while the host runs something else.
    fn counts_instructions(&self) -> bool;

    /// Seconds since 1970.
    fn wall_seconds(&self) -> u64;
}

/// What the processor is, and what it holds of guest and server.
pub trait Processor {
    /// Loads the guest's XCR0, whose state stays in the registers across exits.
    fn set_xcr0(&mut self, value: u64);

    /// CPUID on the host.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf;

    /// Physical address bits.
    fn physical_bits(&self) -> u32;

    /// The registers of the last fault, in the order of [`REGISTER_NAMES`](atoll_protocol::control::REGISTER_NAMES).
    fn registers(&self) -> [u64; REGISTERS];
}

/// The host's devices.
pub trait HostPorts {
    /// Reads a host port of 1, 2 or 4 bytes.
    fn port_in(&mut self, port: u16, size: u8) -> u32;

    /// Writes a host port of 1, 2 or 4 bytes.
    fn port_out(&mut self, port: u16, size: u8, value: u32);

    /// Lets a host interrupt come again.
    fn unmask(&mut self, irq: HostIrq);
}

/// The guest's memory.
pub trait GuestRam {
    /// Bytes of guest memory; 0 before it exists.
    fn guest_size(&self) -> u64;

    /// Copies from guest memory; false if it is not all RAM.
    fn guest_read(&self, gpa: Gpa, into: &mut [u8]) -> bool;

    /// Where eight bytes of guest memory are, if they are RAM: for [`GuestRam::guest_peek`]. Guest memory does not move.
    fn guest_place(&self, gpa: Gpa) -> Option<Place>;

    /// The eight bytes there, little-endian.
    fn guest_peek(&self, place: Place) -> u64;

    /// Copies to guest memory; checked to be RAM.
    fn guest_write(&mut self, gpa: Gpa, bytes: &[u8]);

    /// Copies from the bundle to guest memory; both ranges checked.
    fn guest_copy(&mut self, gpa: Gpa, offset: u64, length: u64);

    /// Whether guest memory holds `value` in `size` bytes; checked to be RAM.
    fn guest_holds(&self, gpa: Gpa, value: u64, size: u64) -> bool;

    /// Writes the new value of a compare-and-swap. Checked to be RAM, aligned, of 1, 2, 4 or 8 bytes.
    fn guest_swap(&mut self, cas: GuestCas);

    /// Whether guest memory of `bytes` can be had.
    fn can_hold(&self, bytes: u64) -> bool;

    /// Sets guest memory aside, and frames for all the nested tables that it can need.
    fn create_machine(&mut self, bytes: u64);
}

/// Tables by which the guest reaches its memory.
pub trait Translations {
    /// Enters guest memory into the nested page tables, in place of what is mapped there. Frames for all tables were set aside with the guest's
    /// memory; while too many of them still wait to be flushed, nothing is entered, and the guest is to run after a flush and fault again.
    fn map(&mut self, mapping: Mapping) -> Stale;

    /// Takes it out again.
    fn unmap(&mut self, mapping: Mapping) -> Stale;

    /// Takes out all that is mapped.
    fn unmap_all(&mut self) -> Stale;

    /// Puts a page of guest memory in the place of another page of the guest's addresses; a table that it takes is one of those set aside.
    fn stand_in(&mut self, page: Gpa, memory: Gpa) -> Stale;

    /// Takes out what stands in there, and the tables that hold nothing else.
    fn stand_down(&mut self, page: Gpa) -> Stale;

    /// The guest has run with nothing stale: only now may tables that were taken out hold anything else.
    fn flushed(&mut self);
}

/// What everything is made of: the bundle, and frames.
pub trait Stock {
    /// Bytes of the bundle.
    fn bundle_size(&self) -> u64;

    /// Writes into the bundle; the range has been checked.
    fn bundle_write(&mut self, offset: u64, bytes: &[u8]);

    /// Free frames of 4 KiB: those that nobody has, and that are not set aside for anything.
    fn free_frames(&self) -> u64;
}

/// What servers run in, and running them.
pub trait AddressSpaces {
    /// The pages of the conversation.
    type Pages: Pages;

    /// Runs one activation; `deadline` is when the watchdog ends it.
    fn activate(
        &mut self,
        pages: &mut Self::Pages,
        server: ServerId,
        length: usize,
        deadline: Ticks,
    ) -> Outcome;

    /// Copies vault lines from the working to the committed copy; the range has been checked.
    fn commit_vault(&mut self, server: ServerId, first: u16, count: u16);

    /// Makes an address space with stack, vault and pages; frames have been counted.
    fn create_server(&mut self, server: ServerId, limits: &Limits);

    /// Maps and fills a segment; frames have been counted and ranges checked.
    fn fill_segment(&mut self, server: ServerId, segment: &Segment);

    /// Fills a segment that is mapped as it was filled first, its rest with zeros.
    fn refill_segment(&mut self, server: ServerId, segment: &Segment);

    /// Makes the vault's working copy what the committed one is.
    fn restore_vault(&mut self, server: ServerId);

    /// Exchanges the address spaces and vaults of two servers; each has its own pages of the conversation afterwards.
    fn exchange(&mut self, one: ServerId, other: ServerId);

    /// Maps guest memory read-only.
    fn show_guest(&mut self, server: ServerId);

    /// Maps the bundle read-only.
    fn show_bundle(&mut self, server: ServerId);

    /// Sets the entry point.
    fn set_entry(&mut self, server: ServerId, entry: u64);

    /// Takes the address space away.
    fn destroy_server(&mut self, server: ServerId);
}

/// What people read.
pub trait Log {
    /// Writes a line to the kernel's log.
    fn log(&mut self, line: fmt::Arguments<'_>);

    /// Writes digests of all that no server may touch, for tests of containment; other builds have nothing to write.
    fn log_digests(&mut self, _when: &str, _vcpu: &Vcpu) {}
}

/// What fault injection asks of the hardware.
#[cfg(feature = "fault-injection")]
pub trait Experiment: AddressSpaces {
    /// The plan of the faults to inject, if it is another one than that with the number `known`.
    fn plan(&self, _known: u64) -> Option<atoll_protocol::inject::Plan> {
        None
    }

    /// A host interrupt by which the next byte that the plan types makes itself known, once for each.
    fn key_arrived(&mut self) -> Option<HostIrq> {
        None
    }

    /// Passes the point at which the host stops the machine.
    fn pause(&mut self) {}

    /// This message is about to be hit: nothing has been done yet.
    fn about_to_inject(
        &mut self,
        _pages: &mut Self::Pages,
        _server: ServerId,
        _length: usize,
        _injection: &atoll_protocol::inject::Injection,
    ) {
    }

    /// The server's last answer, of this length in its page, broke no rule: for books that are held against the kernel's own.
    fn accepted(&mut self, _pages: &Self::Pages, _server: ServerId, _length: usize) {}

    /// Runs one activation in which the server does this before, or instead of, its own work. A machine that cannot have it done says how
    /// it would have ended.
    fn sabotage(
        &mut self,
        pages: &mut Self::Pages,
        server: ServerId,
        length: usize,
        deadline: Ticks,
        act: crate::inject::Act,
    ) -> Outcome {
        use crate::inject::Act;
        match act {
            Act::Crash => Outcome::Fault(Reason::Exception {
                vector: 6,
                error: 0,
                address: 0,
            }),
            Act::Write(_) => Outcome::Fault(Reason::Exception {
                vector: 14,
                error: 7,
                address: 0,
            }),
            Act::Hang => Outcome::Fault(Reason::Hang),
            Act::Delay(_) => self.activate(pages, server, length, deadline),
        }
    }

    /// Flips a bit of a server's memory, counted modulo the area's size; false if the server has nothing there.
    fn flip(&mut self, _server: ServerId, _area: crate::inject::Area, _bit: u64) -> bool {
        false
    }
}

/// The machine. Nothing here may fail once the matching check has passed.
#[cfg(not(feature = "fault-injection"))]
pub trait Machine:
    Clock + Processor + HostPorts + GuestRam + Translations + Stock + AddressSpaces + Log
{
}

#[cfg(not(feature = "fault-injection"))]
impl<M: Clock + Processor + HostPorts + GuestRam + Translations + Stock + AddressSpaces + Log>
    Machine for M
{
}

/// The machine. Nothing here may fail once the matching check has passed.
#[cfg(feature = "fault-injection")]
pub trait Machine:
    Clock + Processor + HostPorts + GuestRam + Translations + Stock + AddressSpaces + Log + Experiment
{
}

#[cfg(feature = "fault-injection")]
impl<
    M: Clock
        + Processor
        + HostPorts
        + GuestRam
        + Translations
        + Stock
        + AddressSpaces
        + Log
        + Experiment,
> Machine for M
{
}
