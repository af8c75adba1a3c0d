//! Another interrupt controller for a machine with one CPU: two 8259s, an I/O APIC and a local APIC. What `irqchip` does, from a state that
//! has nothing in common with that one's, made to be read rather than to be fast.
//!
//! Everything is in flat arrays: a byte for each vector, a word for each of the local APIC's registers, sixteen inputs of the 8259s in one
//! word. Priorities are found by scanning. A message changes the arrays; what the kernel has to be told of (an offer, the timer, the task
//! priority) is then whatever is not as it was told before.
//!
//! - [`vectors`]: what is pending and in service.
//! - [`lapic`]: the registers. [`base`]: the modes. [`timer`]: the timer.
//! - [`ioapic`] and [`pic`].
//! - [`access`]: the guest's ports, loads, stores and MSRs.
//! - [`succession`]: the state for another server of the role, and from one.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use atoll_protocol::effect::Offer;
use atoll_protocol::interchange::IrqchipState;
use atoll_protocol::manifest::Setup;
use atoll_protocol::message::{Held, LineChange, Machine};
use atoll_protocol::role::{Irqchip, IrqchipEffect, IrqchipEvent, IrqchipReply, IrqchipRequest};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Refuse, Server, Vault};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod access;
mod base;
mod ioapic;
mod lapic;
mod pic;
mod succession;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

use pic::Pics;
use timer::Timer;
use vectors::Vectors;

/// The only CPU's timer.
const TIMER: TimerId = TimerId::nth(0);
/// The interval timer's line, and the I/O APIC's pin that it goes to. Line 2 is where the slave 8259 sits.
const INTERVAL_TIMER: u8 = 0;
const INTERVAL_TIMER_PIN: u8 = 2;

/// All of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// What is pending and in service.
    vectors: Vectors,
    /// The local APIC's registers by number (Intel SDM vol. 3, table 11-1).
    registers: [u32; 64],
    /// Redirection entries.
    pins: [u64; ioapic::PINS],
    /// MSR APIC_BASE.
    base: u64,
    /// The local APIC's timer.
    timer: Timer,
    /// What the kernel's timer is armed for; 0 if it is not.
    armed: u64,
    /// The counter's frequency.
    tsc_khz: u64,
    /// The 8259s.
    pics: Pics,
    /// Levels of the I/O APIC's pins.
    lines: u32,
    /// Its identification, and IOREGSEL.
    ioapic_id: u32,
    select: u32,
    /// What is on offer: kind and vector.
    offered: [u8; 2],
    /// 1: an NMI has come that is not offered yet.
    nmi: u8,
    /// Errors since ESR was last written.
    errors: u8,
    /// 1: the kernel was told that the local APIC is off.
    told_off: u8,
    /// 1: the I/O APIC lets the 8259s through to the CPU.
    through_ioapic: u8,
    reserved: [u8; 14],
}

/// The server.
#[derive(Debug)]
pub struct FlatServer;

impl Server for FlatServer {
    type Role = Irqchip;
    type State = State;
    type Cache = ();

    fn start(machine: &Machine, _: &Setup<'_>) -> Result<State, Refuse> {
        if machine.vcpus > 1 {
            return Err(Refuse::Machine("a machine with a single vCPU"));
        }
        if machine.tsc_khz == 0 || machine.tsc_khz >= 1 << 25 {
            return Err(Refuse::Machine(
                "a time-stamp counter between 1 kHz and 33 GHz",
            ));
        }
        let mut state = State {
            vectors: Vectors::EMPTY,
            registers: [0; 64],
            pins: [ioapic::MASKED; ioapic::PINS],
            base: 0,
            timer: Timer::STOPPED,
            armed: 0,
            tsc_khz: machine.tsc_khz,
            pics: Pics::AS_FIRMWARE_LEAVES_THEM,
            lines: 0,
            ioapic_id: 0,
            select: 0,
            offered: NOTHING,
            nmi: 0,
            errors: 0,
            told_off: 0,
            through_ioapic: 0,
            reserved: [0; 14],
        };
        state.reset();
        state.base = base::AFTER_RESET;
        state.virtual_wire();
        Ok(state)
    }

    fn export(state: &State) -> Option<IrqchipState> {
        Some(state.export())
    }

    fn import(
        machine: &Machine,
        setup: &Setup<'_>,
        before: IrqchipState,
        _: bool,
    ) -> Result<State, Refuse> {
        if !before.makes_sense() {
            return Err(Refuse::BadState);
        }
        let mut state = Self::start(machine, setup)?;
        state.import(&before);
        Ok(state)
    }

    fn restarted(vault: &mut Vault<'_, Self>, _: &Held, effects: &mut Effects<'_, Irqchip>) {
        let state = vault.at(|state| state);
        // Whether it is armed is not known.
        effects.emit(IrqchipEffect::Disarm(TIMER));
        state.armed = 0;
        state.look_through();
        tell(state, state.class(), effects);
    }

    fn handle(
        vault: &mut Vault<'_, Self>,
        request: IrqchipRequest<'_>,
        effects: &mut Effects<'_, Irqchip>,
    ) -> IrqchipReply {
        let (now, priority) = (effects.now(), effects.task_priority());
        let state = vault.at(|state| state);
        state.see_priority(priority);
        let reply = state.answer(request, now);
        tell(state, priority, effects);
        reply
    }

    fn event(vault: &mut Vault<'_, Self>, event: IrqchipEvent, effects: &mut Effects<'_, Irqchip>) {
        let (now, priority) = (effects.now(), effects.task_priority());
        let state = vault.at(|state| state);
        if let IrqchipEvent::Accepted(vector) = event {
            // The rest of the message comes as a call of its own, which ends with the next offer.
            return state.accepted(vector);
        }
        state.see_priority(priority);
        match event {
            IrqchipEvent::Line(change) => state.line(change),
            IrqchipEvent::Timer(timer) => {
                if timer == TIMER {
                    state.armed = 0;
                }
                state.expire(now);
            }
            IrqchipEvent::Header | IrqchipEvent::Accepted(_) => {}
        }
        tell(state, priority, effects);
    }
}

/// No offer.
const NOTHING: [u8; 2] = [Offer::NONE, 0];

/// Tells the kernel what is not as it was told; `class`: of the task priority, as it knows it.
fn tell(state: &mut State, class: u8, effects: &mut Effects<'_, Irqchip>) {
    if state.class() != class {
        effects.emit(IrqchipEffect::TaskPriority(state.class()));
    }
    let off = u8::from(!state.is_enabled());
    if off != state.told_off {
        state.told_off = off;
        effects.emit(IrqchipEffect::Enabled(off == 0));
    }
    let deadline = state.timer.deadline();
    if deadline != state.armed {
        state.armed = deadline;
        effects.emit(if deadline == 0 {
            IrqchipEffect::Disarm(TIMER)
        } else {
            IrqchipEffect::Arm(TIMER, Ticks(deadline))
        });
    }
    let next = state.next();
    if next != state.offered || state.nmi != 0 {
        let [kind, vector] = next;
        effects.emit(IrqchipEffect::Offer(Offer {
            vcpu: 0,
            vector,
            kind,
            nmi: core::mem::take(&mut state.nmi),
        }));
        state.offered = next;
    }
}

impl State {
    /// What the CPU should take next: the 8259s go first, where they reach it.
    fn next(&self) -> [u8; 2] {
        if (self.through_ioapic != 0 || self.through_lint0()) && self.pics.asks() {
            return [Offer::EXTERNAL, self.pics.vector()];
        }
        match self.vectors.next() {
            0 => NOTHING,
            vector => [Offer::FIXED, vector],
        }
    }

    /// The CPU has taken what was on offer.
    fn accepted(&mut self, vector: u8) {
        match core::mem::replace(&mut self.offered, NOTHING) {
            [Offer::FIXED, _] => self.vectors.serve(vector),
            [Offer::EXTERNAL, _] => self.pics.acknowledge(),
            _ => {}
        }
    }

    /// A device's line changes.
    fn line(&mut self, LineChange { line, level, rose }: LineChange) {
        if line.number() < 16 {
            let asked = self.pics.asks();
            let rises = self.pics.line(line.number(), level, rose);
            self.pics_were(asked && !rises);
        }
        match line.number() {
            INTERVAL_TIMER => self.pin(INTERVAL_TIMER_PIN, level, rose),
            INTERVAL_TIMER_PIN => {}
            pin => self.pin(pin, level, rose),
        }
    }

    /// Does something to the 8259s. If they begin to ask, and LINT0 is not their way to the CPU, it is an input like any other.
    fn with_pics<T>(&mut self, act: impl FnOnce(&mut Pics) -> T) -> T {
        let asked = self.pics.asks();
        let result = act(&mut self.pics);
        self.pics_were(asked);
        result
    }

    /// Whether they asked before.
    fn pics_were(&mut self, asked: bool) {
        if !asked && self.pics.asks() && !self.through_lint0() {
            self.lint0();
        }
    }
}
