//! What goes between the controllers: lines to pins, interrupt messages to local APICs, ends of interrupt back.

use atoll_protocol::message::LineChange;
use atoll_protocol::role::{Irqchip, IrqchipEffect};
use atoll_protocol::units::{Ticks, TimerId};
use atoll_sdk::{Effects, Vault};

use crate::interrupt::{Interrupt, Mode};
use crate::ioapic::{EXTERNAL_PIN, PINS};
use crate::lapic::registers::SENT_ILLEGAL_VECTOR;
use crate::lapic::{BY_IOAPIC, Lapic};
use crate::{IrqchipServer, offer, place};

/// The timer's line; the MADT's source override says that it reaches the I/O APIC at pin 2.
const TIMER_LINE: u8 = 0;
const TIMER_PIN: u8 = 2;
/// Lines that the 8259s have, too.
const ISA_LINES: u8 = 16;

/// The machine as seen from its wiring.
pub(crate) struct Wires<'w, 'v, 'e> {
    pub(crate) vault: &'w mut Vault<'v, IrqchipServer>,
    pub(crate) effects: &'w mut Effects<'e, Irqchip>,
}

impl Wires<'_, '_, '_> {
    /// A device's line changes.
    #[inline(never)]
    pub(crate) fn line(mut self, change: LineChange) {
        let LineChange { line, level, rose } = change;
        let line = line.number();
        if line < ISA_LINES {
            let asked = self.vault.pics.output;
            let pics = self.vault.at(|state| &mut state.pics);
            if pics.line(line, level, rose) {
                self.pics_rose();
            } else {
                self.pics_changed(asked);
            }
        }
        // Line 2 is where the slave 8259 sits; the I/O APIC's pin 2 belongs to the timer.
        let pin = match line {
            TIMER_LINE => Some(TIMER_PIN),
            TIMER_PIN => None,
            _ => Some(line),
        };
        if let Some(pin) = pin
            && let Some(interrupt) = self
                .vault
                .at(|state| &mut state.ioapic)
                .line(pin, level, rose)
        {
            self.send_from(pin, interrupt);
        }
        self.offer_all();
    }

    /// The 8259s' output may have changed: LINT0 sees its edge if it is not the 8259s' own way to the CPU.
    pub(crate) fn pics_changed(&mut self, asked: u8) {
        if asked == 0 && self.vault.pics.output != 0 {
            self.pics_rose();
        }
    }

    /// The 8259s' output has risen.
    fn pics_rose(&mut self) {
        if !self.vault.lapics[0].registers.external_through() {
            let entry = self.vault.lapics[0].registers.lint0;
            self.lapic(0).local(entry);
        }
    }

    /// A vCPU's timer expires.
    #[inline(always)]
    pub(crate) fn expire(self, vcpu: u8) {
        let now = self.effects.now().0;
        let deadline = self.vault.lapics[place(vcpu)].live.deadline;
        if deadline == 0 || now < deadline {
            // From an arming that has been replaced meanwhile, or another server's.
            return self.too_early(vcpu, deadline);
        }
        let live = &self.vault.lapics[place(vcpu)].live;
        match live.plain_deadline() {
            Some(vector) => {
                let live = offer::live(self.vault, vcpu);
                live.deadline = 0;
                live.request(vector, false);
            }
            None => {
                let lapic = self.vault.at(|state| &mut state.lapics[place(vcpu)]);
                lapic.expire(now);
                if lapic.live.deadline != 0 {
                    let next = Ticks(lapic.live.deadline);
                    self.effects
                        .emit(IrqchipEffect::Arm(TimerId::nth(vcpu), next));
                }
            }
        }
        offer::offer(self.vault, vcpu, self.effects);
    }

    /// A timer has expired that is not due. Arming it once more costs nothing and cannot lose an expiry; and the message may tell of an
    /// acceptance.
    #[cold]
    fn too_early(self, vcpu: u8, deadline: u64) {
        if deadline != 0 {
            self.effects
                .emit(IrqchipEffect::Arm(TimerId::nth(vcpu), Ticks(deadline)));
        }
        offer::offer(self.vault, vcpu, self.effects);
    }

    /// An end of interrupt reaches the I/O APIC.
    pub(crate) fn end(&mut self, vector: u8) {
        for pin in 0..PINS as u8 {
            if self.vault.ioapic.awaits(pin, vector) {
                self.vault.at(|state| &mut state.ioapic).ended(pin);
                self.standing(pin);
            }
        }
    }

    /// Looks whether a pin sends because of its level.
    pub(crate) fn standing(&mut self, pin: u8) {
        if let Some(interrupt) = self.vault.ioapic.standing(pin) {
            self.send_from(pin, interrupt);
        }
        if pin == EXTERNAL_PIN {
            self.rewire();
        }
    }

    fn send_from(&mut self, pin: u8, interrupt: Interrupt) {
        if self.deliver(&interrupt) {
            self.vault.at(|state| &mut state.ioapic).taken(pin);
        }
    }

    /// Brings an interrupt to the local APICs that it is for; whether one took it.
    pub(crate) fn deliver(&mut self, interrupt: &Interrupt) -> bool {
        let mut taken = false;
        for vcpu in 0..self.vcpus() {
            taken |= self.deliver_to(vcpu, interrupt);
            if taken && interrupt.mode == Mode::Lowest {
                break;
            }
        }
        taken
    }

    fn deliver_to(&mut self, vcpu: u8, interrupt: &Interrupt) -> bool {
        if !self.vault.lapics[place(vcpu)].takes(interrupt) {
            return false;
        }
        match interrupt.mode {
            Mode::Nmi => offer::live(self.vault, vcpu).nmi = 1,
            Mode::Fixed | Mode::Lowest if interrupt.vector >= 16 => {
                offer::live(self.vault, vcpu).request(interrupt.vector, interrupt.level);
            }
            Mode::Fixed | Mode::Lowest => {
                self.lapic(vcpu).receive(interrupt.vector, interrupt.level)
            }
            // The 8259s' vector is fetched from them by `offer`, as long as their output is high.
            Mode::External | Mode::Other => {}
        }
        true
    }

    /// A local APIC sends what its ICR says (Intel SDM vol. 3 §11.6.1).
    pub(crate) fn send(&mut self, from: u8) {
        let registers = &self.vault.lapics[place(from)].registers;
        let (icr, extended) = (registers.icr, registers.extended());
        let destination = if extended {
            (icr >> 32) as u32
        } else {
            (icr >> 56) as u32
        };
        let shorthand = icr >> 18 & 3;
        let interrupt = Interrupt {
            vector: icr as u8,
            mode: Mode::of((icr >> 8) as u32),
            level: false,
            logical: icr & 1 << 11 != 0,
            destination,
            broadcast: shorthand != 0 || destination == if extended { u32::MAX } else { 0xff },
        };
        if matches!(interrupt.mode, Mode::Fixed | Mode::Lowest) && interrupt.vector < 16 {
            return self.lapic(from).error(SENT_ILLEGAL_VECTOR);
        }
        match shorthand {
            1 => {
                self.deliver_to(from, &interrupt);
            }
            3 => {
                for vcpu in (0..self.vcpus()).filter(|vcpu| *vcpu != from) {
                    self.deliver_to(vcpu, &interrupt);
                }
            }
            _ => {
                self.deliver(&interrupt);
            }
        }
    }

    /// Works out again which vCPUs the 8259s reach through the I/O APIC.
    pub(crate) fn rewire(&mut self) {
        let external = self.vault.ioapic.external();
        for vcpu in 0..self.vcpus() {
            let reached =
                external.is_some_and(|interrupt| self.vault.lapics[place(vcpu)].takes(&interrupt));
            let live = offer::live(self.vault, vcpu);
            live.wired = live.wired & !BY_IOAPIC | if reached { BY_IOAPIC } else { 0 };
        }
    }

    /// Arms every timer again: it may have been another server's, which has armed others.
    pub(crate) fn rearm(&mut self) {
        for vcpu in 0..self.vcpus() {
            let deadline = self.vault.lapics[place(vcpu)].live.deadline;
            self.effects.emit(match deadline {
                0 => IrqchipEffect::Disarm(TimerId::nth(vcpu)),
                _ => IrqchipEffect::Arm(TimerId::nth(vcpu), Ticks(deadline)),
            });
        }
    }

    /// Offers every vCPU what it should take next.
    pub(crate) fn offer_all(&mut self) {
        for vcpu in 0..self.vcpus() {
            offer::offer(self.vault, vcpu, self.effects);
        }
    }

    /// Write access to all of a local APIC.
    pub(crate) fn lapic(&mut self, vcpu: u8) -> &mut Lapic {
        self.vault.at(|state| &mut state.lapics[place(vcpu)])
    }

    fn vcpus(&self) -> u8 {
        self.vault.vcpus as u8
    }
}
