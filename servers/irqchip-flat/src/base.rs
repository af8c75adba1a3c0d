//! MSR 0x1b, APIC_BASE: the modes, and what may follow what (Intel SDM vol. 3 §11.12.5).

use crate::State;
use crate::lapic::number;
use crate::timer::Timer;
use crate::vectors::Vectors;

/// The bootstrap CPU; read-only.
const BOOTSTRAP: u64 = 1 << 8;
const X2APIC: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;
/// On a PC's bootstrap CPU.
pub(crate) const AFTER_RESET: u64 = 0xfee0_0000 | ENABLED | BOOTSTRAP;
/// SVR: enabled by software.
const SOFTWARE_ENABLED: u32 = 1 << 8;
/// LVT: masked.
const MASKED: u32 = 1 << 16;

impl State {
    /// The modes as APIC_BASE has them, 0 to 3: off, illegal, xAPIC, x2APIC.
    fn mode(base: u64) -> u64 {
        base >> 10 & 3
    }

    /// It is on.
    pub(crate) fn is_enabled(&self) -> bool {
        self.base & ENABLED != 0
    }

    /// It is on, for software, too.
    pub(crate) fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.register(number::SVR) & SOFTWARE_ENABLED != 0
    }

    /// Its registers are MSRs.
    pub(crate) fn is_x2apic(&self) -> bool {
        self.base & X2APIC != 0
    }

    /// Its registers are in memory, here.
    pub(crate) fn page(&self) -> Option<u64> {
        (Self::mode(self.base) == 2).then_some(self.base & !0xfff)
    }

    /// WRMSR; `None` is a #GP.
    pub(crate) fn set_base(&mut self, value: u64) -> Option<()> {
        if value & !(BOOTSTRAP | X2APIC | ENABLED) != AFTER_RESET & !(BOOTSTRAP | X2APIC | ENABLED)
        {
            return None;
        }
        match (Self::mode(self.base), Self::mode(value)) {
            (0, 0 | 2) | (2, 2) | (3, 3) => {}
            (2 | 3, 0) => self.reset(),
            (2, 3) => {
                // The only CPU is number 0: cluster 0, first of it.
                self.set_register(number::LDR, 1);
                self.set_register(number::ICR_HIGH, 0);
            }
            _ => return None,
        }
        self.base = value & !BOOTSTRAP | self.base & BOOTSTRAP;
        Some(())
    }

    /// Registers and vectors as after reset; what the kernel was told stays as it was told.
    pub(crate) fn reset(&mut self) {
        self.vectors = Vectors::EMPTY;
        self.timer = Timer::STOPPED;
        self.errors = 0;
        self.registers = [0; 64];
        self.set_register(number::DFR, u32::MAX);
        self.set_register(number::SVR, 0xff);
        (number::LVT_TIMER..=number::LVT_ERROR).for_each(|entry| self.set_register(entry, MASKED));
    }

    /// What a PC's firmware adds: the 8259s come through LINT0, NMIs through LINT1 (MultiProcessor Specification 1.4 §3.6.2.2).
    pub(crate) fn virtual_wire(&mut self) {
        self.set_register(number::SVR, 0xff | SOFTWARE_ENABLED);
        self.set_register(number::LVT_LINT0, 7 << 8);
        self.set_register(number::LVT_LINT1, 4 << 8);
    }
}
