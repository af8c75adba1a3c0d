//! One of the 8254's counters: what counts, and when its output changes (Intel 8254 data sheet, order number 231164, "mode definitions").
//!
//! Nothing is stepped: a counter remembers the cycle at which its count was loaded, and everything else is a function of the cycle asked
//! about. How the CPU reads and writes it is in [`port`], how a counter moves to another server in [`succession`].

pub mod port;
mod succession;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No count is loaded, or it waits for a trigger.
const IDLE: u8 = 0;
/// Counting.
const RUNNING: u8 = 1;
/// Held by its gate.
const PAUSED: u8 = 2;

/// One counter. One vault line. Flags are 0 or 1.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Channel {
    /// The cycle at which the count was loaded.
    start: u64,
    /// The cycle at which `next` replaces `count` (modes 2 and 3); 0 if none is waiting.
    switch_at: u64,
    /// Cycles counted before the pause.
    paused: u64,
    /// The count that runs, 1 to 65536 (10000 if BCD).
    count: u32,
    /// The count last written.
    next: u32,
    /// [`IDLE`], [`RUNNING`] or [`PAUSED`].
    state: u8,
    /// 0 to 5.
    mode: u8,
    /// The gate input.
    gate: u8,
    /// Whether the count is decimal.
    bcd: u8,
    /// Whether a count was written since the control word.
    loaded: u8,
    /// How the CPU accesses it: 1 low byte, 2 high byte, 3 both.
    access: u8,
    /// Whether the low byte of a count has come and the high byte is awaited.
    half_written: u8,
    /// That low byte.
    low: u8,
    /// Whether the next read of both bytes is of the high one.
    half_read: u8,
    /// Bytes of `latch` still to be read.
    latched: u8,
    /// Whether `status` is to be read.
    status_latched: u8,
    /// The latched status.
    status: u8,
    /// The latched count.
    latch: u16,
    reserved: [u8; 10],
    reserved_end: u64,
}

impl Channel {
    /// Not programmed.
    #[must_use]
    pub fn new(gate: bool) -> Channel {
        Channel {
            gate: gate.into(),
            access: 3,
            count: 0x1_0000,
            next: 0x1_0000,
            ..Channel::default()
        }
    }

    fn modulus(&self) -> u32 {
        if self.bcd != 0 { 10_000 } else { 0x1_0000 }
    }

    /// A control word: the mode is set and nothing counts until a count is written.
    fn program(&mut self, mode: u8, bcd: bool) {
        self.mode = if mode > 5 { mode & 3 } else { mode };
        self.bcd = bcd.into();
        (self.state, self.loaded, self.switch_at) = (IDLE, 0, 0);
        (self.count, self.next) = (self.modulus(), self.modulus());
    }

    /// A whole count is written during cycle `now`; it is loaded with the next one.
    fn load(&mut self, count: u32, now: u64) {
        self.catch_up(now);
        self.next = if count == 0 { self.modulus() } else { count };
        self.loaded = 1;
        match self.mode {
            0 | 4 if self.gate == 0 => {
                (self.state, self.count, self.paused) = (PAUSED, self.next, 0)
            }
            0 | 4 => self.begin(now),
            1 | 5 => {}
            _ if self.state == RUNNING && now >= self.start => self.switch_at = self.boundary(now),
            _ if self.gate != 0 => self.begin(now),
            _ => {}
        }
    }

    fn begin(&mut self, now: u64) {
        (self.state, self.count, self.start, self.switch_at) = (RUNNING, self.next, now + 1, 0);
    }

    /// The gate changes.
    pub fn set_gate(&mut self, gate: bool, now: u64) {
        self.catch_up(now);
        let rose = gate && self.gate == 0;
        let fell = !gate && self.gate != 0;
        self.gate = gate.into();
        match self.mode {
            0 | 4 if rose && self.state == PAUSED => {
                (self.state, self.start) = (RUNNING, now.saturating_sub(self.paused))
            }
            0 | 4 if fell && self.state == RUNNING => {
                (self.state, self.paused) = (PAUSED, now.saturating_sub(self.start))
            }
            0 | 4 => {}
            1 | 5 if rose && self.loaded != 0 => self.begin(now),
            1 | 5 => {}
            _ if rose && self.loaded != 0 => self.begin(now),
            _ if fell => (self.state, self.switch_at) = (IDLE, 0),
            _ => {}
        }
    }

    /// Cycles since the count was loaded.
    fn elapsed(&self, now: u64) -> u64 {
        if self.state == PAUSED {
            self.paused
        } else {
            now.saturating_sub(self.start)
        }
    }

    /// How far the period is in which `now` lies.
    fn position(&self, now: u64) -> u64 {
        self.elapsed(now) % self.period()
    }

    fn period(&self) -> u64 {
        u64::from(self.count.max(1))
    }

    /// Mode 3: for how many cycles the output is high. An odd count's first half is one longer.
    fn high(count: u32) -> u64 {
        u64::from(count).div_ceil(2)
    }

    /// Where a count written at `now` takes over: the end of the period, in mode 3 of its half.
    fn boundary(&self, now: u64) -> u64 {
        let begun = now - self.position(now);
        let high = Self::high(self.count);
        if self.mode == 3 && self.position(now) < high {
            begun + high
        } else {
            begun + self.period()
        }
    }

    /// The cycle that counts as the start of `next`'s first period. After the first half of a square wave, the second half follows.
    fn switched_start(&self) -> u64 {
        let whole = (self.switch_at - self.start).is_multiple_of(self.period());
        if whole {
            self.switch_at
        } else {
            self.switch_at.saturating_sub(Self::high(self.next))
        }
    }

    /// Lets a waiting count take over if its time has come.
    pub fn catch_up(&mut self, now: u64) {
        if self.switch_at != 0 && now >= self.switch_at {
            (self.start, self.count, self.switch_at) = (self.switched_start(), self.next, 0);
        }
    }

    /// The output, after [`Channel::catch_up`].
    #[must_use]
    pub fn output(&self, now: u64) -> bool {
        let (elapsed, period) = (self.elapsed(now), self.period());
        match self.mode {
            0 => self.state != IDLE && elapsed >= period,
            _ if self.state != RUNNING || now < self.start => true,
            1 => elapsed >= period,
            2 => self.position(now) != period - 1,
            3 => self.position(now) < Self::high(self.count),
            _ => elapsed != period,
        }
    }

    /// The counting element, after [`Channel::catch_up`]; in binary, 0 for the modulus.
    #[must_use]
    pub fn value(&self, now: u64) -> u32 {
        let modulus = self.modulus();
        let counted = match self.mode {
            _ if self.state == IDLE => 0,
            2 => self.position(now),
            3 => {
                let position = self.position(now);
                let high = Self::high(self.count);
                let steps = if position < high {
                    position
                } else {
                    position - high
                };
                return ((self.count & !1) - 2 * steps as u32) % modulus;
            }
            _ => self.elapsed(now) % u64::from(modulus),
        };
        (self.count + modulus - counted as u32) % modulus
    }

    /// The first cycle after `now` with which the output rises by itself, after [`Channel::catch_up`].
    #[must_use]
    pub fn next_rise(&self, now: u64) -> Option<u64> {
        if self.state != RUNNING {
            return None;
        }
        let end = self.start + self.period();
        match self.mode {
            0 | 1 => Some(end).filter(|rise| *rise > now),
            4 | 5 => Some(end + 1).filter(|rise| *rise > now),
            _ => {
                let rise = self.start + (self.elapsed(now) / self.period() + 1) * self.period();
                let switched = self.switch_at != 0 && rise > self.switch_at;
                Some(if switched {
                    self.switched_start() + u64::from(self.next)
                } else {
                    rise
                })
            }
        }
    }

    /// Whether a count that was written is not yet counting.
    fn null_count(&self, now: u64) -> bool {
        self.loaded == 0
            || self.state == IDLE
            || self.switch_at != 0
            || self.state == RUNNING && now < self.start
    }
}

#[cfg(test)]
mod tests;
