//! The processor and its memory, as the portable kernel sees them.

use core::arch::x86_64::__cpuid_count;
use core::fmt;
use core::ops::Range;

use atoll_core::ids::PerServer;
#[cfg(feature = "fault-injection")]
use atoll_core::machine::Experiment;
use atoll_core::machine::{
    AddressSpaces, Clock, GuestRam, HostPorts, Log, Outcome, Place, Processor, Stale, Stock,
    Translations,
};
use atoll_protocol::control::REGISTERS;
use atoll_protocol::effect::{GuestCas, Mapping, Segment};
use atoll_protocol::frames::of_nested;
use atoll_protocol::grant::Limits;
use atoll_protocol::message::Leaf;
use atoll_protocol::units::{Gpa, HostIrq, Hpa, ServerId, Ticks};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::xcontrol::XCr0;

use super::conversation::Conversation;
use super::guest::Guest;
use super::server::Memory;
use crate::cpu::per_core::{Core, Stopped};
use crate::cpu::registers::Registers;
use crate::host::{lapic, pic, port, rtc, tsc};
use crate::memory::direct;
use crate::memory::frames::Frames;
use crate::memory::space::MapError;
use crate::svm::nested::Nested;

/// How much later than an activation's deadline the watchdog may look, in milliseconds: it is armed once in such a time, not once per
/// activation.
const WATCHDOG_SLACK_MS: u64 = 10;
const LARGE_PAGE: u64 = 2 << 20;

/// The hardware.
pub(crate) struct Hardware {
    memories: PerServer<Memory>,
    guest: Guest,
    frames: Option<Frames>,
    /// Set aside for nested tables, with the guest's memory: as many as that can need.
    tables: Frames,
    nested: Option<Nested>,
    bundle: Range<u64>,
    /// When the timer will fire.
    armed: Ticks,
    /// How much later than an activation's deadline the watchdog may look.
    slack: Ticks,
    /// The wall clock when the counter was 0.
    wall_zero: u64,
}

impl Hardware {
    /// Nothing known yet.
    pub(crate) const NONE: Hardware = Hardware {
        memories: PerServer([const { Memory::NONE }; ServerId::COUNT]),
        guest: Guest::NONE,
        frames: None,
        tables: Frames::new(),
        nested: None,
        bundle: 0..0,
        armed: Ticks(u64::MAX),
        slack: Ticks(0),
        wall_zero: 0,
    };

    /// Takes over what boot found; the root of the nested tables.
    pub(super) fn start(&mut self, mut frames: Frames, bundle: &Range<Hpa>) -> u64 {
        self.bundle = bundle.start.0..bundle.end.0;
        self.slack = Ticks(tsc::khz() * WATCHDOG_SLACK_MS);
        // The clock is read once: it may have to be waited for, and a successor is not made to wait.
        self.wall_zero = rtc::wall_seconds().wrapping_sub(tsc::micros() / 1_000_000);
        self.nested = Nested::new(&mut frames);
        self.frames = Some(frames);
        self.nested.as_ref().map_or(0, Nested::root)
    }

    /// The bundle's bytes.
    pub(super) fn bundle(&self) -> &'static [u8] {
        let length = (self.bundle.end - self.bundle.start) as usize;
        // SAFETY: boot keeps the bundle's memory out of the frames, so that only `bundle_write` writes it: by then no such slice is kept.
        unsafe { core::slice::from_raw_parts(direct::pointer(Hpa(self.bundle.start)), length) }
    }

    /// The timer has fired.
    pub(super) fn timer_fired(&mut self) {
        self.armed = Ticks(u64::MAX);
    }

    #[cold]
    #[inline(never)]
    fn arm_at(&mut self, deadline: Ticks) {
        self.armed = deadline;
        lapic::arm(deadline.since(tsc::now()));
    }

    /// Runs something that needs frames for a server. It cannot run out of them: the check has counted.
    fn with<T>(
        &mut self,
        server: ServerId,
        act: impl FnOnce(&mut Memory, &mut Frames) -> Result<T, MapError>,
    ) {
        let Hardware {
            memories,
            frames: Some(frames),
            ..
        } = self
        else {
            return;
        };
        if let Err(error) = act(&mut memories[server], frames) {
            crate::log!(
                "server {}: {error:?} after the check: the kernel has miscounted",
                server.number()
            );
        }
    }
}

impl Clock for Hardware {
    #[inline(always)]
    fn now(&self) -> Ticks {
        tsc::now()
    }

    fn tsc_khz(&self) -> u64 {
        tsc::khz()
    }

    fn arm(&mut self, deadline: Ticks) {
        if deadline < self.armed {
            self.arm_at(deadline);
        }
    }

    #[inline(always)]
    fn has_events(&self) -> bool {
        Core::current().has_events()
    }

    fn counts_instructions(&self) -> bool {
        tsc::counts_instructions()
    }

    fn wall_seconds(&self) -> u64 {
        self.wall_zero.wrapping_add(tsc::micros() / 1_000_000)
    }
}

impl Processor for Hardware {
    fn set_xcr0(&mut self, value: u64) {
        if Cr4::read().contains(Cr4Flags::OSXSAVE) {
            // SAFETY: the guest's emulator has checked the value against what the processor offers; the host uses no such state.
            unsafe { XCr0::write_raw(value) };
        }
    }

    #[inline(always)]
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        let found = __cpuid_count(leaf, subleaf);
        Leaf {
            eax: found.eax,
            ebx: found.ebx,
            ecx: found.ecx,
            edx: found.edx,
        }
    }

    fn physical_bits(&self) -> u32 {
        __cpuid_count(0x8000_0008, 0).eax & 0xff
    }

    fn registers(&self) -> [u64; REGISTERS] {
        let Some(Stopped { registers, cr2 }) = Core::current().last_stopped() else {
            return [0; REGISTERS];
        };
        let Registers {
            r15_to_r8: [r15, r14, r13, r12, r11, r10, r9, r8],
            frame,
            ..
        } = registers;
        let Registers {
            rbp,
            rdi,
            rsi,
            rdx,
            rcx,
            rbx,
            rax,
            vector,
            error,
            ..
        } = registers;
        let (rip, rsp) = (
            frame.instruction_pointer.as_u64(),
            frame.stack_pointer.as_u64(),
        );
        let (cs, flags, ss) = (
            frame.code_segment.0.into(),
            frame.cpu_flags.bits(),
            frame.stack_segment.0.into(),
        );
        [
            r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax, vector, error,
            rip, cs, flags, rsp, ss, cr2,
        ]
    }
}

impl HostPorts for Hardware {
    fn port_in(&mut self, number: u16, size: u8) -> u32 {
        #[cfg(feature = "fault-injection")]
        if let Some(typed) = super::keyboard::read(number) {
            return typed;
        }
        match size {
            1 => u32::from(port::read::<u8>(number)),
            2 => u32::from(port::read::<u16>(number)),
            _ => port::read::<u32>(number),
        }
    }

    fn port_out(&mut self, number: u16, size: u8, value: u32) {
        #[cfg(feature = "fault-injection")]
        super::keyboard::written(number, value);
        match size {
            1 => port::write(number, value as u8),
            2 => port::write(number, value as u16),
            _ => port::write(number, value),
        }
    }

    fn unmask(&mut self, irq: HostIrq) {
        pic::unmask(irq.number());
    }
}

impl GuestRam for Hardware {
    #[inline(always)]
    fn guest_size(&self) -> u64 {
        self.guest.size
    }

    #[inline(always)]
    fn guest_read(&self, gpa: Gpa, into: &mut [u8]) -> bool {
        self.guest.read(gpa, into)
    }

    #[inline(always)]
    fn guest_place(&self, gpa: Gpa) -> Option<Place> {
        self.guest.place(gpa, 8).map(|at| Place(at.0))
    }

    #[inline(always)]
    fn guest_peek(&self, place: Place) -> u64 {
        Guest::peek(Hpa(place.0))
    }

    fn guest_write(&mut self, gpa: Gpa, bytes: &[u8]) {
        self.guest.write(gpa, bytes);
    }

    fn guest_copy(&mut self, gpa: Gpa, offset: u64, length: u64) {
        let from = offset as usize..(offset + length) as usize;
        self.guest
            .write(gpa, self.bundle().get(from).unwrap_or(&[]));
    }

    fn guest_holds(&self, gpa: Gpa, value: u64, size: u64) -> bool {
        let mut bytes = [0; 8];
        let found = bytes
            .get_mut(..size as usize)
            .is_some_and(|bytes| self.guest.read(gpa, bytes));
        found && value.to_le_bytes().get(..size as usize) == bytes.get(..size as usize)
    }

    fn guest_swap(&mut self, cas: GuestCas) {
        self.guest.write(
            cas.gpa,
            cas.new
                .to_le_bytes()
                .get(..cas.size as usize)
                .unwrap_or(&[]),
        );
    }

    fn can_hold(&self, bytes: u64) -> bool {
        self.frames
            .as_ref()
            .is_some_and(|frames| frames.can_contiguous(bytes, LARGE_PAGE))
    }

    fn create_machine(&mut self, bytes: u64) {
        let Some(frames) = &mut self.frames else {
            return;
        };
        if let Some(base) = frames.alloc_contiguous(bytes, LARGE_PAGE) {
            self.guest = Guest { base, size: bytes };
        }
        // Single frames, wherever they lie: that many are left, as the check has counted.
        (0..of_nested(bytes))
            .map_while(|_| frames.alloc())
            .for_each(|frame| self.tables.free(frame));
    }
}

impl Translations for Hardware {
    #[inline(always)]
    fn map(&mut self, mapping: Mapping) -> Stale {
        let Hardware {
            guest,
            tables,
            nested: Some(nested),
            ..
        } = self
        else {
            return Stale(false);
        };
        guest
            .place(mapping.gpa, 1)
            .map_or(Stale(false), |to| nested.map(&mapping, to, tables))
    }

    fn unmap(&mut self, mapping: Mapping) -> Stale {
        self.nested
            .as_mut()
            .map_or(Stale(false), |nested| nested.unmap(&mapping))
    }

    fn stand_in(&mut self, page: Gpa, memory: Gpa) -> Stale {
        let Hardware {
            guest,
            tables,
            nested: Some(nested),
            ..
        } = self
        else {
            return Stale(false);
        };
        guest
            .place(memory, 1)
            .map_or(Stale(false), |to| nested.stand_in(page, to, tables))
    }

    fn stand_down(&mut self, page: Gpa) -> Stale {
        self.nested
            .as_mut()
            .map_or(Stale(false), |nested| nested.stand_down(page))
    }

    fn unmap_all(&mut self) -> Stale {
        self.nested.as_mut().map_or(Stale(false), Nested::clear)
    }

    fn flushed(&mut self) {
        if let Hardware {
            tables,
            nested: Some(nested),
            ..
        } = self
        {
            nested.flushed(tables);
        }
    }
}

impl Stock for Hardware {
    fn bundle_size(&self) -> u64 {
        self.bundle.end - self.bundle.start
    }

    fn bundle_write(&mut self, offset: u64, bytes: &[u8]) {
        let to = direct::pointer::<u8>(Hpa(self.bundle.start + offset));
        // SAFETY: the range lies in the bundle, of which nothing has a slice now, and an answer page is no part of it.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    fn free_frames(&self) -> u64 {
        self.frames.as_ref().map_or(0, Frames::free_count)
    }
}

impl AddressSpaces for Hardware {
    type Pages = Conversation;

    #[inline(always)]
    fn activate(
        &mut self,
        _: &mut Conversation,
        server: ServerId,
        length: usize,
        deadline: Ticks,
    ) -> Outcome {
        let core = Core::current();
        core.set_deadline(deadline);
        let latest = Ticks(deadline.0.wrapping_add(self.slack.0));
        if latest < self.armed {
            self.arm_at(latest);
        }
        let memory = &self.memories[server];
        core.activate(
            &memory.target,
            length as u64,
            memory.guest,
            memory.bundle,
            memory.vault,
        )
    }

    #[inline(always)]
    fn commit_vault(&mut self, server: ServerId, first: u16, count: u16) {
        self.memories[server].commit(first, count);
    }

    fn create_server(&mut self, server: ServerId, limits: &Limits) {
        self.with(server, |memory, frames| {
            memory.create(server, limits, frames)
        });
    }

    fn fill_segment(&mut self, server: ServerId, segment: &Segment) {
        let range = segment.offset as usize..(segment.offset + segment.file) as usize;
        let content = self.bundle().get(range).unwrap_or(&[]);
        self.with(server, |memory, frames| {
            memory.fill(segment, content, frames)
        });
    }

    fn refill_segment(&mut self, server: ServerId, segment: &Segment) {
        let range = segment.offset as usize..(segment.offset + segment.file) as usize;
        let content = self.bundle().get(range).unwrap_or(&[]);
        self.memories[server].refill(segment, content);
    }

    fn restore_vault(&mut self, server: ServerId) {
        self.memories[server].restore();
    }

    fn exchange(&mut self, one: ServerId, other: ServerId) {
        self.memories.0.swap(one.index(), other.index());
        for id in [one, other] {
            self.memories[id].move_to(id);
        }
    }

    fn show_guest(&mut self, server: ServerId) {
        let Guest { base, size } = self.guest;
        self.with(server, |memory, frames| {
            memory.show_guest(base, size, frames)
        });
    }

    fn show_bundle(&mut self, server: ServerId) {
        let (start, size) = (Hpa(self.bundle.start), self.bundle_size());
        self.with(server, |memory, frames| {
            memory.show_bundle(start, size, frames)
        });
    }

    fn set_entry(&mut self, server: ServerId, entry: u64) {
        self.memories[server].set_entry(entry);
    }

    fn destroy_server(&mut self, server: ServerId) {
        self.with(server, |memory, frames| {
            memory.destroy(Core::current(), frames);
            Ok(())
        });
    }
}

impl Log for Hardware {
    fn log(&mut self, line: fmt::Arguments<'_>) {
        crate::log!("{line}");
    }

    #[cfg(feature = "digest")]
    fn log_digests(&mut self, when: &str, vcpu: &atoll_core::vcpu::Vcpu) {
        super::digest::log(when, vcpu, self.guest, &self.memories.0);
    }
}

#[cfg(feature = "fault-injection")]
impl Experiment for Hardware {
    fn plan(&self, known: u64) -> Option<atoll_protocol::inject::Plan> {
        super::sabotage::plan(known)
    }

    fn key_arrived(&mut self) -> Option<HostIrq> {
        super::keyboard::arrived()
    }

    fn pause(&mut self) {
        port::write(super::sabotage::PAUSE_PORT, super::sabotage::PAUSE);
    }

    fn sabotage(
        &mut self,
        pages: &mut Conversation,
        server: ServerId,
        length: usize,
        deadline: Ticks,
        act: atoll_core::inject::Act,
    ) -> Outcome {
        let memory = &mut self.memories[server];
        let own = memory.target;
        let Some((target, entry)) = memory.target_at(atoll_protocol::layout::SABOTAGE) else {
            return self.activate(pages, server, length, deadline);
        };
        super::sabotage::write_code(act, entry, memory);
        memory.target = target;
        let outcome = self.activate(pages, server, length, deadline);
        self.memories[server].target = own;
        outcome
    }

    fn flip(&mut self, server: ServerId, area: atoll_core::inject::Area, bit: u64) -> bool {
        super::sabotage::flip(&self.memories[server], area, bit)
    }
}
