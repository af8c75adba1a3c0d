//! kvmclock: two structures in guest memory from which the guest computes time without an exit.
//!
//! The layouts are KVM's ABI: `pvclock_wall_clock` (version, seconds, nanoseconds) and `pvclock_vcpu_time_info`. The guest computes
//! `system_time + ((tsc - tsc_timestamp) << shift) * mul >> 32`. Every publication names the same origin (the machine's start, system
//! time 0), so that two of them can never disagree by a rounding: time does not go backwards when a guest registers a second page.

use atoll_protocol::interchange::MsrState;
use atoll_protocol::layout::ram_offset;
use atoll_protocol::message::Machine;
use atoll_protocol::role::{Msr, MsrEffect, MsrReply};
use atoll_protocol::units::{Gpa, Ticks};
use atoll_sdk::Effects;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const NANOSECONDS: u128 = 1_000_000_000;
/// Bit 0 of the system-time register: the structure is wanted.
const ENABLE: u64 = 1;
/// The time-stamp counters of all CPUs agree.
const TSC_STABLE: u8 = 1;

/// `pvclock_vcpu_time_info`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub(crate) struct TimeInfo {
    /// Even: the rest is consistent.
    pub version: u32,
    /// Not used; zero.
    pub pad0: u32,
    /// The guest's TSC at `system_time`.
    pub tsc_timestamp: u64,
    /// Nanoseconds.
    pub system_time: u64,
    /// Nanoseconds per (shifted) tick, as a fraction of 2^32.
    pub tsc_to_system_mul: u32,
    /// How ticks are shifted first: left if positive.
    pub tsc_shift: i8,
    /// [`TSC_STABLE`].
    pub flags: u8,
    /// Not used; zero.
    pub pad: [u8; 2],
}

/// `pvclock_wall_clock`: the time of day at system time 0.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub(crate) struct WallClock {
    /// Even: the rest is consistent.
    pub version: u32,
    /// Seconds since 1970.
    pub seconds: u32,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

/// One vault line: the scale, the origin and the registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct KvmClock {
    /// The system-time register.
    pub(crate) system_time: u64,
    /// The wall-clock register.
    pub(crate) wall_clock: u64,
    /// Host TSC at system time 0.
    origin: u64,
    /// Guest TSC less host TSC.
    pub(crate) offset: u64,
    /// Seconds since 1970 at the origin.
    wall_seconds: u64,
    /// Bytes of guest memory.
    memory: u64,
    mul: u32,
    /// Of both structures.
    version: u32,
    shift: i8,
    reserved: [u8; 7],
}

/// Multiplier and shift for a counter of `khz`: the multiplier has its top bit set, for the smallest error.
///
/// The product's error is below one part in 2^31: less than a microsecond in half an hour.
pub(crate) fn scale(khz: u64) -> Option<(u32, i8)> {
    let hertz = u128::from(u32::try_from(khz).ok()?) * 1000;
    // The shift that brings the counter's frequency above 1 GHz and to 2 GHz at most, all of it scaled by 2^32 so that nothing is lost.
    let scaled = |shift: i8| hertz << (32 + shift);
    let shift = (-32..=31).find(|shift| scaled(*shift) > NANOSECONDS << 32)?;
    // A tick then takes between one half and one nanosecond.
    let mul = (NANOSECONDS << 64) / scaled(shift);
    u32::try_from(mul).ok().map(|mul| (mul, shift))
}

impl KvmClock {
    /// A clock without an origin; `None` if the counter's frequency is beyond what the ABI can say.
    pub(crate) fn new(machine: &Machine) -> Option<KvmClock> {
        let (mul, shift) = scale(machine.tsc_khz)?;
        Some(KvmClock {
            wall_seconds: machine.wall_seconds,
            memory: machine.memory,
            mul,
            shift,
            ..KvmClock::default()
        })
    }

    /// What a successor must know.
    pub(crate) fn export(&self, into: &mut MsrState) {
        (into.system_time, into.wall_clock) = (self.system_time, self.wall_clock);
        (into.origin, into.offset, into.wall_seconds) =
            (self.origin, self.offset, self.wall_seconds);
        into.published = self.version;
    }

    /// Goes on where another was: what is in guest memory stays right.
    pub(crate) fn import(&mut self, before: &MsrState) {
        (self.system_time, self.wall_clock) = (before.system_time, before.wall_clock);
        (self.origin, self.offset, self.wall_seconds) =
            (before.origin, before.offset, before.wall_seconds);
        self.version = before.published;
    }

    /// System time 0 is now.
    pub(crate) fn begin(&mut self, now: Ticks) {
        self.origin = now.0;
    }

    /// The guest set its counter: what it computes must not change.
    pub(crate) fn set_tsc(&mut self, now: Ticks, value: u64, effects: &mut Effects<'_, Msr>) {
        self.offset = value.wrapping_sub(now.0);
        if self.system_time & ENABLE != 0 {
            self.publish(effects);
        }
    }

    /// Write to the system-time register.
    pub(crate) fn set_system_time(
        &mut self,
        value: u64,
        effects: &mut Effects<'_, Msr>,
    ) -> MsrReply {
        if value & ENABLE != 0 {
            if !self.holds(value & !ENABLE, size_of::<TimeInfo>()) {
                return MsrReply::GeneralProtection;
            }
            self.system_time = value;
            self.publish(effects);
        }
        self.system_time = value;
        MsrReply::Done
    }

    /// Write to the wall-clock register.
    pub(crate) fn set_wall_clock(
        &mut self,
        value: u64,
        effects: &mut Effects<'_, Msr>,
    ) -> MsrReply {
        if !self.holds(value, size_of::<WallClock>()) {
            return MsrReply::GeneralProtection;
        }
        self.wall_clock = value;
        // The ABI ends in 2106.
        let wall = WallClock {
            version: self.next_version(),
            seconds: self.wall_seconds as u32,
            nanoseconds: 0,
        };
        effects.emit(MsrEffect::GuestWrite(Gpa(value), wall.as_bytes()));
        MsrReply::Done
    }

    fn publish(&mut self, effects: &mut Effects<'_, Msr>) {
        let info = TimeInfo {
            version: self.next_version(),
            pad0: 0,
            tsc_timestamp: self.origin.wrapping_add(self.offset),
            system_time: 0,
            tsc_to_system_mul: self.mul,
            tsc_shift: self.shift,
            flags: TSC_STABLE,
            pad: [0; 2],
        };
        effects.emit(MsrEffect::GuestWrite(
            Gpa(self.system_time & !ENABLE),
            info.as_bytes(),
        ));
    }

    /// A higher even number: a reader on another CPU that has seen part of what was there before tries again.
    fn next_version(&mut self) -> u32 {
        self.version = self.version.wrapping_add(2);
        self.version
    }

    /// Whether `size` bytes at `gpa` are RAM and aligned to four, as the ABI wants.
    fn holds(&self, gpa: u64, size: usize) -> bool {
        let Some(last) = gpa.checked_add(size as u64 - 1) else {
            return false;
        };
        let inside = |gpa| ram_offset(self.memory, gpa);
        // Either end in RAM is enough: the gap between its parts is larger than any of the structures.
        gpa.is_multiple_of(4) && inside(gpa).is_some() && inside(last).is_some()
    }
}
